import pytest
from pylonyard.webservers.apache.machine import conflicting_host, virtual_hosts

LISTED = """\
VirtualHost configuration:
*:80                   is a NameVirtualHost
         default server localhost (/etc/apache2/sites-enabled/000-default.conf:1)
         port 80 namevhost localhost (/etc/apache2/sites-enabled/000-default.conf:1)
         port 80 namevhost {first} (/etc/apache2/sites-enabled/blog.conf:21)
                 alias {alias}
         port 80 namevhost www.example.org (/etc/apache2/sites-enabled/shop.conf:21)
         port 80 namevhost {last} (/etc/apache2/sites-enabled/wiki.conf:21)
*:443                  www.example.org (/etc/apache2/sites-enabled/secure.conf:1)
"""
NAMES = {"first": "blog.example.org", "alias": "blog", "last": "wiki.example.org"}


@pytest.mark.parametrize(
    ("names", "is_new", "found"),
    [
        ({}, True, None),
        ({"first": "www.example.org"}, True, "blog"),
        ({"first": "www.example.org"}, False, "blog"),
        ({"alias": "*.example.org"}, False, "blog"),
        # Ours comes first: a new name takes the clients of another, an old one always did.
        ({"last": "www.example.org"}, True, "wiki"),
        ({"last": "www.example.org"}, False, None),
    ],
)
def test_name_that_another_file_has_is_found(names, is_new, found):
    hosts = virtual_hosts(LISTED.format(**{**NAMES, **names}))

    other = conflicting_host(hosts, "www.example.org", "shop.conf", is_new=is_new)

    assert (other and other.file.stem) == found


def test_site_that_is_not_there_has_no_rival():
    hosts = virtual_hosts(LISTED.format(**NAMES))

    assert conflicting_host(hosts, "www.example.org", "other.conf", is_new=True) is None
