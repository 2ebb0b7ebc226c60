import ast
import getpass
import grp
import json
import os
import pwd
import subprocess
import sys
import threading
import time
from collections import UserDict
from pathlib import Path

import pytest
from pylonyard.packages import interpreters
from pylonyard.recipes.apache_vhost import ApacheVhost
from pylonyard.system.errors import OptionError
from pylonyard.webservers.apache import control
from pylonyard.webservers.apache.config_lint import DEBIAN, parse, problems

SECTION = {
    "name": "demo",
    "server-name": "demo.example",
    "backends": "127.0.0.1:8080",
    "user": "nobody",
    "log-folder": "var/log",
    "run-folder": "/run/demo",
    "data": "var/data/demo",
}
WSGI = {"mode": "mod_wsgi", "module": "/store/mod_wsgi.so", "home": "/store/sandbox"}
TLS = {"ssl-certificate": "/tls/chain.pem", "ssl-key": "/tls/key.pem"}


@pytest.fixture
def recipe(tmp_path):
    """Return a function that makes the recipe of a section with more options."""
    base = {
        "directory": str(tmp_path),
        "parts-directory": str(tmp_path / "parts"),
        "bin-directory": str(tmp_path / "bin"),
        "eggs-directory": str(tmp_path / "eggs"),
        "parts": "release",
    }
    run = UserDict({"buildout": base})  # as zc.buildout's: it can carry the state of a run
    run._raw = {
        "release": {"recipe": "pylonyard:release", "sites": "site"},
        "site": {"roles": "app vhost"},
        "app": {"recipe": "pylonyard:pylons_app"},
    }
    return lambda **more: ApacheVhost(
        run,
        "vhost",
        {**SECTION, **{name.replace("_", "-"): text for name, text in more.items()}},
    )


@pytest.fixture
def rendered(recipe):
    """Return a function that gives the files of a section: path -> text."""
    return lambda **more: {file.path: file.text for file in recipe(**more).files}


@pytest.fixture
def site(rendered):
    return lambda **more: rendered(**more)["etc/apache2/sites-available/demo.conf"]


def says(text, *lines):
    """Return whether ``lines`` stand in ``text``, one after the other."""
    return "\n".join(lines) in "\n".join(line.strip() for line in text.splitlines())


def test_a_proxy_has_a_site_file_a_private_apache_and_its_control(recipe):
    files = recipe().files

    assert [(file.path, file.mode) for file in files] == [
        ("etc/apache2/sites-available/demo.conf", 0o644),
        ("demo/httpd.conf", 0o644),
        ("demo/site.json", 0o644),
        ("bin/demo-httpd", 0o755),
        ("demo/dispatch.wsgi", 0o644),
    ]


def test_other_parts_learn_the_live_paths(recipe, tmp_path):
    live = tmp_path / "current"

    assert recipe(**WSGI, **TLS, extra_modules="rewrite").published() == {
        "path": live / "etc" / "apache2" / "sites-available" / "demo.conf",
        "modules": "authz_core alias mime reqtimeout headers setenvif "
        "wsgi socache_shmcb ssl rewrite",
        "script": live / "demo" / "dispatch.wsgi",
        "httpd": live / "demo" / "httpd.conf",
        "httpd-port": 8880,
    }


def test_site_to_disable_may_be_named_as_its_file(rendered):
    described = json.loads(rendered(disable_sites="000-default.conf old")["demo/site.json"])

    assert described["disable-sites"] == ["000-default", "old"]


def test_one_backend_is_proxied_as_in_the_chapter(site):
    text = site(retry="7", timeout="30")
    words = "retry=7 timeout=30 connectiontimeout=5 disablereuse=On"

    assert says(
        text,
        f'ProxyPass "/" "http://127.0.0.1:8080/" {words}',
        'ProxyPassReverse "/" "http://127.0.0.1:8080/"',
    )
    assert says(text, "ProxyRequests Off", "ProxyPreserveHost On")


def test_several_backends_are_balanced(site):
    text = site(backends="127.0.0.1:1\n[::1]:2", lbmethod="bybusyness")
    words = "retry=5 timeout=60 connectiontimeout=5 disablereuse=On"

    assert says(
        text,
        '<Proxy "balancer://demo">',
        f'BalancerMember "http://127.0.0.1:1" {words}',
        f'BalancerMember "http://[::1]:2" {words}',
        "ProxySet lbmethod=bybusyness",
        "</Proxy>",
        'ProxyPass "/" "balancer://demo/"',
    )


def test_a_daemon_process_has_limits_and_the_sandbox_as_its_home(site, tmp_path):
    (daemon,) = [
        one
        for one in parse(site(**WSGI, daemon_options="request-timeout = 300"))
        if one.name == "wsgidaemonprocess"
    ]
    group = grp.getgrgid(pwd.getpwnam("nobody").pw_gid).gr_name

    assert daemon.arguments == (
        "demo",
        "user=nobody",
        f"group={group}",
        "processes=2",
        "threads=52",
        "display-name=%{GROUP}",
        f"python-home={tmp_path}/current/demo/env",
        f"python-eggs={tmp_path}/var/data/demo/egg-cache",
        f"home={tmp_path}/var/data/demo",
        "listen-backlog=100",
        "queue-timeout=45",
        "socket-timeout=60",
        "connect-timeout=15",
        "startup-timeout=15",
        "deadlock-timeout=60",
        "graceful-timeout=15",
        "shutdown-timeout=30",
        "lang=C.UTF-8",
        "locale=C.UTF-8",
        "request-timeout=300",
    )


@pytest.mark.parametrize(
    ("processes", "threads", "reading", "of_each", "timeout"),
    [
        ("2", "2", "100", "52", "20"),
        ("3", "1", "100", "35", "22"),
        ("1", "4", "100", "104", "18"),
        ("2", "2", "0", "2", "59"),
        ("1", "1", "0", "1", "100"),
    ],
)
def test_threads_that_read_are_shared_out_and_no_request_may_take_longer(
    site, processes, threads, reading, of_each, timeout
):
    numbers = {"processes": processes, "threads": threads, "reading_threads": reading}
    (daemon,) = [one for one in parse(site(**WSGI, **numbers)) if one.name == "wsgidaemonprocess"]

    assert f"threads={of_each}" in daemon.arguments
    assert f"request-timeout={timeout}" in daemon.arguments


@pytest.mark.parametrize(("mode", "group"), [("mod_wsgi", "demo"), ("embedded", "%{GLOBAL}")])
def test_the_script_alone_is_granted(site, tmp_path, mode, group):
    text = site(**{**WSGI, "mode": mode})

    assert says(
        text,
        f'WSGIScriptAlias "/" "{tmp_path}/current/demo/dispatch.wsgi" \\',
        f"process-group={group} application-group=%{{GLOBAL}}",
    )
    granted = [one for one in parse(text) if one.says("all", "granted")]
    assert [one.sections[1:] for one in granted] == [
        (("directory", f"{tmp_path}/current/demo"), ("files", "dispatch.wsgi"))
    ]


def test_what_may_run_once_has_one_process(site):
    (daemon,) = [one for one in parse(site(**WSGI, overlap="false")) if "demo" in one.arguments]

    assert {"processes=1", "threads=102"} <= set(daemon.arguments)


def test_two_virtual_hosts_share_one_group_of_processes(site):
    text = site(**WSGI, **TLS, redirect="false")

    assert text.count("WSGIDaemonProcess demo ") == 1
    assert text.count("WSGIScriptAlias ") == 2


def test_http_leads_to_https(site):
    text = site(**TLS, ssl_port="8443", hsts="300")

    assert says(text, 'Redirect permanent "/" "${demo_URL}/"')
    assert says(text, "Define demo_URL https://demo.example:8443")
    assert says(text, 'Header always set Strict-Transport-Security "max-age=300"')
    assert text.count("ProxyPass ") == 1


def test_a_port_of_its_own_gets_its_listen_once(site):
    assert "Listen" not in site()
    assert says(
        site(listen_port="8081"),
        "<IfDefine !LISTEN_8081>",
        "Define LISTEN_8081",
        "Listen 8081 http",
        "</IfDefine>",
    )
    assert says(site(listen="10.0.0.1", listen_port="81"), "Listen 10.0.0.1:81 http")


def test_the_private_apache_defines_the_addresses_before_it_includes_the_site(rendered, tmp_path):
    text = rendered(**TLS)["demo/httpd.conf"]

    assert text.endswith(
        "Listen 127.0.0.1:8880 http\n"
        "Define demo_HTTP 127.0.0.1:8880\n"
        "Listen 127.0.0.1:8843 https\n"
        "Define demo_HTTPS 127.0.0.1:8843\n"
        "Define demo_URL https://demo.example:8843\n"
        f'Include "{tmp_path}/current/etc/apache2/sites-available/demo.conf"\n'
    )


def test_the_private_apache_never_serves_as_root(rendered):
    users = {
        one.arguments[0]
        for user in ("root", "nobody")
        for one in parse(rendered(user=user)["demo/httpd.conf"])
        if one.name == "user"
    }

    assert "root" not in users


@pytest.mark.parametrize("more", [{}, WSGI, {**WSGI, **TLS}, {**TLS, "redirect": "false"}])
def test_the_files_have_none_of_the_problems_that_apache_lets_pass(rendered, more):
    files = rendered(**more, static="/static = public")
    site = files["etc/apache2/sites-available/demo.conf"]

    assert problems(site, exists=lambda path: True, defined=DEBIAN) == []
    assert problems(files["demo/httpd.conf"]) == []


def test_static_folders_are_served_by_apache_most_specific_first(site, tmp_path):
    text = site(static="/a = public\n/a.b/c = /srv/c")

    assert text.index('Alias "/a.b/c" "/srv/c"') < text.index(f'Alias "/a" "{tmp_path}/public"')
    assert says(text, 'ProxyPass "/a.b/c" "!"', 'ProxyPass "/a" "!"')
    assert says(text, r'<LocationMatch "^/a\.b/c/(.*/)?\.">', "Require all denied")


def test_logs_that_the_sites_account_could_make_links_are_refused(recipe, tmp_path):
    with pytest.raises(OptionError) as caught:
        recipe(directives=f"TransferLog {tmp_path}/var/log/mine.log")

    assert str(caught.value) == (
        "[vhost] directives: expected logs outside the sandbox, since root's Apache opens them, "
        f"got '{tmp_path}/var/log/mine.log'"
    )


@pytest.mark.parametrize("more", [{}, WSGI])
def test_directives_come_before_the_application_and_after_it(site, more):
    text = site(directives="Header set A b", directives_after="Header set C d", **more)
    application = 'WSGIScriptAlias "/"' if more else 'ProxyPass "/" "http'

    assert text.index("Header set A b") < text.index(application) < text.index("Header set C d")
    assert says(text, "Header set C d", "</VirtualHost>")


def test_an_option_without_effect_in_its_mode_is_one_line_and_no_error(recipe, caplog):
    recipe(processes="3", threads="2", daemon_options="umask = 0027")
    recipe(**WSGI, processes="3", websockets="/live")

    assert caplog.messages == [
        "[vhost] processes, daemon-options: no effect in mode proxy",
        "[vhost] websockets: no effect in mode mod_wsgi",
    ]


def test_the_virtual_host_that_leads_to_https_has_its_own_directives_first(site):
    text = site(directives='Alias "/a" "/b"', directives_http='Alias "/c.d" "/e"', **TLS)
    http = text[text.index("<VirtualHost") : text.index("</VirtualHost")]

    assert 'Alias "/a"' not in http
    assert says(
        http,
        'Alias "/c.d" "/e"',
        "",
        r'RedirectMatch permanent "^(?=(.*))(?!/c\\.d(?:/|$))" "${demo_URL}$1"',
    )


def test_a_websocket_is_passed_on_and_its_body_not_kept_back(site):
    text = site(websockets="/live /a.b")

    assert says(
        text,
        'ProxyPass "/live" "http://127.0.0.1:8080/live" upgrade=websocket retry=5 timeout=300 '
        "connectiontimeout=5 disablereuse=On",
    )
    assert says(text, r'<LocationMatch "^(?!(?:/live|/a\.b)(?:/|$))">', "SetInputFilter BUFFER")


def test_the_script_is_valid_in_python_2_and_has_no_path_of_this_sandbox(rendered, tmp_path):
    text = rendered(**WSGI)["demo/dispatch.wsgi"]

    assert str(tmp_path) not in text
    assert text.isascii()
    ast.parse(text, feature_version=(3, 7))


class Slow:
    """A body, as mod_wsgi gives it; ``None`` is where its sender gives up."""

    def __init__(self, *pieces):
        self.pieces = list(pieces)

    def read(self, size):
        piece = self.pieces.pop(0) if self.pieces else b""
        if piece is None:
            raise OSError("request data read error")
        return piece


class Stream:
    """mod_wsgi's ``wsgi.file_wrapper``."""

    def close(self):
        pass


@pytest.fixture
def seated(rendered):
    """Return a function that gives an application so many seats, as dispatch.wsgi does."""

    def seated(number, application):
        script = ast.parse(rendered(**WSGI)["demo/dispatch.wsgi"])
        kinds = (ast.Import, ast.FunctionDef, ast.ClassDef, ast.Assign)
        # What is defined before the sandbox is touched, and no more.
        before = script.body[: [type(one) for one in script.body].index(ast.Expr, 1)]
        definitions = [one for one in before if isinstance(one, kinds)]
        space = {"__file__": __file__}
        exec(compile(ast.Module(definitions, []), "dispatch.wsgi", "exec"), space)
        one = space["Seats"](number, application)

        def ask(*pieces):
            environ = {"wsgi.input": Slow(*pieces), "wsgi.file_wrapper": Stream}
            return one(environ, lambda status, headers: said.append(status))

        said = ask.said = []
        ask.is_free = lambda: one.free > 0
        ask.waiting = lambda: len(one.waiting)
        return ask

    return seated


def test_the_application_gets_the_whole_of_a_body(seated):
    found = []

    def application(environ, start_response):
        body = environ["wsgi.input"]
        found.extend([body.readline(), body.read(3), list(body), body.read()])
        return []

    seated(1, application)(b"a", b"b\ncde", b"f\n", b"g")

    assert found == [b"ab\n", b"cde", [b"f\n", b"g"], b""]


def test_a_large_body_is_kept_in_a_file_without_a_name(seated):
    found = []

    def application(environ, start_response):
        with environ["wsgi.input"] as body:
            found.extend([os.fstat(body.fileno()).st_nlink, body.read()])
        return []

    seated(1, application)(b"first", *[b"x" * 65536] * 9)

    assert found == [0, b"first" + b"x" * 65536 * 9]


def test_a_body_whose_sender_gives_up_never_gets_to_the_application(seated):
    ask = seated(1, lambda environ, start_response: pytest.fail("was asked"))

    assert ask(b"half", None) == []
    assert (ask.said, ask.is_free()) == (["400 Bad Request"], True)


@pytest.mark.parametrize(("number", "several"), [(1, False), (2, True)])
def test_the_application_learns_whether_other_requests_wait(seated, number, several):
    found = []

    def application(environ, start_response):
        found.append(environ["wsgi.multithread"])
        return []

    seated(number, application)()

    assert found == [several]


def test_a_seat_is_taken_while_the_application_works(seated):
    ask = seated(1, lambda environ, start_response: [b"free" if ask.is_free() else b"taken"])

    assert ask() == [b"taken"]
    assert ask.is_free()


def test_waiting_request_is_answered_before_later_ones(seated):
    found = []

    def application(environ, start_response):
        name = environ["wsgi.input"].read()
        while not found and ask.waiting() < 2:
            time.sleep(0.01)
        found.append(name)
        return []

    ask = seated(1, application)
    others = [threading.Thread(target=ask, args=[name]) for name in (b"second", b"third")]
    first = threading.Thread(target=lambda: (ask(b"first"), ask(b"again")))
    first.start()
    for number, other in enumerate(others):
        while ask.is_free() or ask.waiting() < number:
            time.sleep(0.01)
        other.start()
    for one in (first, *others):
        one.join()

    assert found == [b"first", b"second", b"third", b"again"]
    assert ask.is_free()


@pytest.mark.parametrize("answer", [[b"a"], (b"a", b"b"), Stream()], ids=["list", "tuple", "file"])
def test_a_whole_answer_is_passed_on_as_it_is_and_leaves_its_seat(seated, answer):
    ask = seated(1, lambda environ, start_response: answer)

    assert ask() is answer
    assert ask.is_free()


def test_an_answer_that_is_still_made_keeps_its_seat_until_it_is_closed(seated):
    found = []

    def pieces():
        try:
            yield b"a"
            yield b"b"
        finally:
            found.append("closed")

    ask = seated(1, lambda environ, start_response: pieces())
    answer = ask()

    assert (list(answer), ask.is_free()) == ([b"a", b"b"], False)
    answer.close()
    assert (found, ask.is_free()) == (["closed"], True)


def test_an_answer_that_nobody_wants_any_more_leaves_its_seat(seated):
    ask = seated(1, lambda environ, start_response: iter([b"a"]))

    ask().close()

    assert ask.is_free()


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_a_failing_application_leaves_its_seat(seated, error):
    def application(environ, start_response):
        raise error

    ask = seated(1, application)

    with pytest.raises(error):
        ask()
    assert ask.is_free()


def test_an_answer_that_fails_to_close_leaves_its_seat(seated):
    class Failing:
        def __iter__(self):
            return iter([])

        def close(self):
            raise ValueError

    ask = seated(1, lambda environ, start_response: Failing())

    with pytest.raises(ValueError):
        ask().close()
    assert ask.is_free()


@pytest.mark.parametrize(
    "more", [{"mode": "proxy"}, {"mode": "embedded"}, {"reading_threads": "0"}]
)
def test_without_threads_that_read_the_application_is_served_as_it_is(rendered, more):
    assert "Seats" not in rendered(**{**WSGI, **more})["demo/dispatch.wsgi"]


def test_a_backend_is_asked_when_the_body_is_there(site):
    filters = [one for one in parse(site()) if one.name in ("setinputfilter", "buffersize")]

    assert [one.arguments for one in filters] == [("BUFFER",), ("16384",)]
    assert {one.within("location") for one in filters} == {"/"}


def test_the_control_script_knows_the_private_apache(rendered, tmp_path):
    text = rendered(**TLS)["bin/demo-httpd"]

    assert str(interpreters.interpreter()) in text
    assert f"'config': '{tmp_path}/current/demo/httpd.conf'" in text
    assert "'port': 8880, 'tls_port': 8843" in text


@pytest.mark.parametrize("path", ["/a b", '/a"b', "/a\\b", "/ä", "/a'b#c", "/a;b"])
def test_odd_paths_mean_the_same_to_apache(rendered, path):
    files = rendered(log_folder=path)
    private = files["demo/httpd.conf"] + files["etc/apache2/sites-available/demo.conf"]

    logs = [one.arguments for one in parse(private) if one.name == "errorlog"]

    assert logs == [(f"{path}/demo-httpd.log",), (f"{path}/demo-error.log",)]


def test_the_machines_apache_opens_no_log_where_an_account_may_put_a_link(site):
    found = [
        one.arguments[0]
        for one in parse(site(log_folder="/site/var/log"), DEBIAN)
        if one.name in ("errorlog", "customlog")
    ]

    assert found == [f"/var/log/apache2/demo-{kind}.log" for kind in ("error", "access")]


def test_links_among_static_files_lead_to_files_of_the_same_account_only(site):
    options = [
        one.arguments
        for one in parse(site(static="/media = /srv/media"))
        if one.name == "options" and one.within("directory") == "/srv/media"
    ]

    assert options == [("SymLinksIfOwnerMatch",)]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"mode": "cgi"}, "mode: expected proxy or mod_wsgi or embedded, got 'cgi'"),
        ({"backends": ""}, "backends: expected at least one host:port in mode proxy, got ''"),
        ({"backends": "8080"}, "backends: expected host:port, got '8080'"),
        (
            {"mode": "embedded"},
            "module: expected the path of mod_wsgi.so in mode embedded, got ''",
        ),
        (
            {**WSGI, "user": "root"},
            "user: expected an account that mod_wsgi may use, got 'root'",
        ),
        ({"group": "x y"}, "group: expected an existing group, got 'x y'"),
        (
            {"ssl_key": "/k"},
            "ssl-certificate: expected both this and ssl-key, got only one",
        ),
        (
            {**TLS, "ssl_port": "80"},
            "ssl-port: expected another than listen-port, got '80'",
        ),
        ({"hsts": "9"}, "hsts: expected 0 without ssl-certificate, got '9'"),
        ({"disable-sites": "demo"}, "disable-sites: expected other sites than this, got 'demo'"),
        (
            {"disable-sites": "old demo.conf"},
            "disable-sites: expected other sites than this, got 'demo'",
        ),
        (
            {**WSGI, "run_folder": "/" + "r" * 90},
            "run-folder: expected a path of at most 75 characters, which sockets need, "
            f"got '/{'r' * 90}'",
        ),
        (
            {"static": "/ = a"},
            "static: expected a URL path of letters, digits, . _ ~ - without a final /, got '/'",
        ),
        ({"static": "/a = a\n/a = b"}, "static: expected each URL path once, got '/a'"),
        (
            {"static": "/a = /"},
            "static: expected a folder that does not hold the sandbox, got '/'",
        ),
        (
            {"static": "/a = /srv/[b]"},
            "static: expected a folder without *, ?, [ and ], got '/srv/[b]'",
        ),
        (
            {"directives": "Header set A ${PATH}"},
            "directives: expected directives without ${, which Apache would expand, "
            "got 'Header set A ${PATH}'",
        ),
        (
            {"directives": "a\x00b"},
            "directives: expected lines without control characters, got 'a\\x00b'",
        ),
        (
            {"directives": "</VirtualHost>"},
            "directives: expected complete sections, got: "
            "line 1: </VirtualHost> closes what is not open",
        ),
        (
            {"directives": "a \\"},
            "directives: expected complete sections, got: line 1: "
            "the last line ends with a backslash",
        ),
        (
            {"daemon_options": "thread = 1"},
            "daemon-options: expected an option of WSGIDaemonProcess that has none here, "
            "got 'thread'",
        ),
        (
            {"log_level": "loud"},
            "log-level: expected a level such as warn, or module:level, got 'loud'",
        ),
        (
            {"request_timeouts": "body=x"},
            "request-timeouts: expected header=, body= or handshake="
            "SECONDS[-SECONDS][,MinRate=BYTES], got 'body=x'",
        ),
        (
            {"log_folder": "/${HOME}"},
            "'/${HOME}/demo-httpd.log' has ${, which Apache would expand",
        ),
        ({"backend": "a:1"}, "backend: unknown, did you mean backends?"),
    ],
)
def test_every_bad_option_is_named(recipe, more, message):
    with pytest.raises(OptionError) as caught:
        recipe(**more)

    assert str(caught.value) == f"[vhost] {message}"


def test_directives_that_open_a_hole_are_refused(recipe):
    with pytest.raises(OptionError) as caught:
        recipe(directives="ProxyRequests On")

    assert str(caught.value).endswith(": ProxyRequests On makes an open proxy")


# webservers.apache.control: what needs no Apache.


@pytest.fixture
def httpd(tmp_path):
    return control.PrivateApache(
        name="demo",
        config="/demo/httpd.conf",
        pid_file=str(tmp_path / "pid"),
        log="/demo/log",
        port=9,
        tls_port=None,
        user=getpass.getuser(),
    )


OWN = pytest.param(str(os.getpid()), id="own")


@pytest.mark.parametrize("text", ["", "-1", "0", "1", "x", OWN, "999999999"])
def test_a_pid_file_is_not_trusted(httpd, text):
    Path(httpd.pid_file).write_text(text)

    assert control.running(httpd) is None


def test_a_pid_file_that_is_a_pipe_or_a_link_is_not_read(httpd, tmp_path):
    place = Path(httpd.pid_file)
    os.mkfifo(place)
    assert control.running(httpd) is None

    place.unlink()
    place.symlink_to("/dev/zero")
    assert control.running(httpd) is None


@pytest.mark.system
def test_an_apache_of_another_configuration_is_not_ours(httpd, tmp_path):
    program = tmp_path / "apache2"
    program.symlink_to(sys.executable)
    sleep = ["-c", "import time; time.sleep(60)"]
    with (
        subprocess.Popen([program, *sleep, "/other/httpd.conf"]) as other,
        subprocess.Popen([program, *sleep, "/demo/httpd.conf"]) as own,
    ):
        found = []
        for process in (other, own):
            Path(httpd.pid_file).write_text(str(process.pid))
            # The kernel tells a new program's arguments a moment after its start.
            while not Path(f"/proc/{process.pid}/cmdline").read_bytes():
                time.sleep(0.01)
            found.append(control.running(httpd))
            process.kill()

    assert found == [None, own.pid]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "demo-httpd: expected ACTION; see demo-httpd --help\n"),
        (
            ["statsu"],
            "demo-httpd: unknown action statsu; did you mean status? See demo-httpd --help\n",
        ),
        (["start", "now"], "demo-httpd: unknown argument now; see demo-httpd start --help\n"),
    ],
)
def test_a_wrong_command_is_named(httpd, capsys, arguments, line):
    assert control.main(httpd, arguments) == 2
    assert capsys.readouterr() == ("", line)


def test_help_has_each_command(httpd, capsys):
    assert control.main(httpd, ["--help"]) == 0

    output = capsys.readouterr().out
    for command in control.COMMANDS:
        assert f"    {command:<10} " in output
