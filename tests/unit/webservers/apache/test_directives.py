import pytest
from pylonyard.webservers.apache.directives import before_proxy, rest, taken


@pytest.mark.parametrize(
    ("line", "path", "is_pattern"),
    [
        ('Redirect permanent "/old" "/new"', "/old", False),
        ("Redirect 410 /old", "/old", False),
        ("Redirect /old http://a.example/", "/old", False),
        ('RedirectMatch gone "^/a b/"', "^/a b/", True),
        ("Alias /docs /srv/docs", "/docs", False),
        ("AliasMatch ^/d(.*) /srv/$1", "^/d(.*)", True),
        ("WSGIScriptAlias /two /srv/two.wsgi", "/two", False),
        ("<Location /status>\nSetHandler server-status\n</Location>", "/status", False),
        ("<Location ~ ^/s>\nSetHandler server-status\n</Location>", "^/s", True),
        ("<LocationMatch ^/s>\nSetHandler server-status\n</LocationMatch>", "^/s", True),
        ("<IfModule mod_alias.c>\nAlias /docs /srv/docs\n</IfModule>", "/docs", False),
    ],
)
def test_what_a_directive_serves_is_not_the_applications(line, path, is_pattern):
    (found,) = taken(line.split("\n"))

    assert (found.path, found.is_pattern) == (path, is_pattern)
    assert f'{"ProxyPassMatch" if is_pattern else "ProxyPass"} "{path}" "!"' in before_proxy(
        line.split("\n")
    )


@pytest.mark.parametrize(
    "line",
    [
        "Header set A b",
        "<Location /admin>\nRequire all denied\n</Location>",
        '<If "true">\nRedirect permanent / https://a.example/\n</If>',
        "<Location /x>\nSetHandler None\n</Location>",
    ],
)
def test_other_directives_leave_the_paths_to_the_application(line):
    lines = line.split("\n")

    assert not list(taken(lines))
    assert list(before_proxy(lines)) == lines
    assert rest(lines) == ""


def test_an_exclusion_stands_before_a_directive_of_several_lines():
    lines = ["# a comment", "Redirect permanent \\", "  /old /new", "ProxyPass /blog http://b/"]

    assert list(before_proxy(lines)) == [lines[0], 'ProxyPass "/old" "!"', *lines[1:]]


def test_the_rest_is_what_no_directive_serves():
    assert rest(["Alias /a.b /c", "RedirectMatch x$ /y"]) == (
        r"^(?=(.*))(?!/a\.b(?:/|$))(?!.*(?:x$))"
    )
