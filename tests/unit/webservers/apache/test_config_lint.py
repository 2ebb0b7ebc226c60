import pytest
from pylonyard.webservers.apache.config_lint import parse, problems, with_folders

GOOD = """
<IfDefine !demo_HTTP>
    Define demo_HTTP *:80
</IfDefine>
# ${NAME} in a comment is nobody's
<VirtualHost ${demo_HTTP}>
    ServerName demo.example
    WSGIDaemonProcess demo user=demo \\
        python-home="/srv/with space/env"
    WSGIScriptAlias "/" "/srv/with space/dispatch.wsgi" process-group=demo
    <Directory "/srv/with space">
        Require all granted
    </Directory>
</VirtualHost>
"""


def test_a_good_text_has_no_problems():
    assert problems(GOOD, exists=lambda path: path.startswith("/srv/with space/")) == []


def test_words_are_read_as_apache_reads_them():
    (alias,) = parse('Alias "/a b" \'/c "d"\' "e\\"f" g="h i"')

    assert alias.arguments == ("/a b", '/c "d"', 'e"f', "g=h i")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("ProxyRequests On", "line 1: ProxyRequests On makes an open proxy"),
        ("ProxyRequests\tOn", "line 1: ProxyRequests On makes an open proxy"),
        ("\nAlias / /srv", "line 2: Alias / serves all of /srv"),
        (
            '<Directory\t"/">\n\tRequire  all\tgranted\n</Directory>',
            "line 2: Require all granted opens every file of the machine",
        ),
        ("A b\nServerName x\0\n</X>", "line 2: a NUL, which hides the rest from Apache"),
        (
            '<Directory "/">\nRequire all granted\n</Directory>',
            "line 2: Require all granted opens every file of the machine",
        ),
        ("WSGIProcessGroup x", "line 1: process group x has no WSGIDaemonProcess"),
        (
            "WSGIScriptAlias / /s process-group=x",
            "line 1: process group x has no WSGIDaemonProcess",
        ),
        (
            "<VirtualHost *:80>\nServerName a\n</VirtualHost>\n"
            "<VirtualHost *:80>\nServerName b\nServerAlias A\n</VirtualHost>",
            "line 6: A on *:80 is served by line 2 already",
        ),
        ("WSGIScriptAlias / /missing", "line 1: the WSGI script /missing is missing"),
        ("WSGIImportScript /missing", "line 1: the WSGI script /missing is missing"),
        (
            "WSGIDaemonProcess x \\\n python-home=/missing",
            "line 1: the python-home /missing is missing",
        ),
        ("ErrorLog ${LOGS}/x", "line 1: ${LOGS} is not defined"),
        ("<Directory /a>", "<directory> is not closed"),
        ("</VirtualHost>", "line 1: </VirtualHost> closes what is not open"),
        ("ServerName x \\", "line 1: the last line ends with a backslash"),
    ],
)
def test_hole_that_apache_accepts_is_named(text, problem):
    assert problems(text, exists=lambda path: path != "/missing") == [problem]


def test_names_that_other_files_define_are_known():
    assert problems("Listen ${PORT}", defined={"PORT": "80"}) == []


def test_a_site_may_have_the_same_name_on_two_ports():
    hosts = "<VirtualHost *:{}>\nServerName a\n</VirtualHost>\n"

    assert problems(hosts.format(80) + hosts.format(443)) == []


def test_apache_reads_files_whose_folders_are_still_to_be_made(tmp_path):
    """The activation makes them, with the account that they are for."""
    made = tmp_path / "made"
    made.mkdir()
    named = 'ServerRoot "{0}/run"\nPidFile "{0}/run/x.pid"\nErrorLog "{0}/log/x.log"\n'

    text = with_folders(named.format(tmp_path), str(made))

    assert text == f'ServerRoot "{made}"\nPidFile "{made}/x.pid"\nErrorLog "{made}/x.log"\n'
    for name in ("run", "log"):
        (tmp_path / name).mkdir()
    kept = named.format(tmp_path)
    assert with_folders(kept, str(made)) == kept
