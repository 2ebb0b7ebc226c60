"""The virtual host and mod_wsgi, in real Apaches on loopback."""

import base64
import configparser
import contextlib
import getpass
import http.client
import itertools
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from checkouts import ROOT
from generated import Run
from interpreters_for_all import reachable_by_all, readable_by_all
from ports import free_port
from pylonyard.config import converters
from pylonyard.config.ini import Ini
from pylonyard.recipes.apache_vhost import ApacheVhost
from pylonyard.recipes.base import parse
from pylonyard.recipes.ini_options import Options as IniOptions
from pylonyard.recipes.ini_options import apply_options
from pylonyard.recipes.mod_wsgi_build import ModWsgiBuild
from pylonyard.server.environment import BEHIND_WEB_SERVER
from pylonyard.system import atomic
from series import select_cases

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not shutil.which("apache2", path="/usr/sbin"), reason="no apache2"),
]

USER = "nobody" if os.geteuid() == 0 else getpass.getuser()
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

TINY_APP = """
import json, os, sys, time

at_work = []

def make(global_conf, greeting, data):
    with open(os.path.join(data, "loaded"), "a") as stream:
        stream.write("%d\\n" % os.getpid())
    gate = os.path.join(data, "gate")
    if os.path.exists(gate):
        open(gate).close()

    def application(environ, start_response):
        at_work.append(1)
        if environ["PATH_INFO"] == "/slow":
            time.sleep(0.2)
        beside = len(at_work)
        at_work.pop()
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        answer = json.dumps({
            "beside": beside,
            "multithread": environ["wsgi.multithread"],
            "greeting": greeting,
            "method": environ["REQUEST_METHOD"],
            "path": environ["PATH_INFO"],
            "query": environ["QUERY_STRING"],
            "scheme": environ["wsgi.url_scheme"],
            "body": body.decode("ascii"),
            "python": "%d.%d" % sys.version_info[:2],
            "sys.path": sys.path,
            "uid": os.getuid(),
            "eggs": os.environ["PYTHON_EGG_CACHE"],
            "authorization": environ.get("HTTP_AUTHORIZATION"),
            "zone": time.strftime("%Z"),
        }).encode("ascii")
        start_response("200 OK", [("Content-Type", "application/json"),
                                  ("Content-Length", str(len(answer)))])
        return [answer]

    return application
"""


def buildout(directory, cache="cache"):
    base = {
        "directory": str(directory),
        "parts-directory": str(directory / "parts"),
        "bin-directory": str(directory / "bin"),
        "eggs-directory": str(directory / "eggs"),
        "download-cache": str(cache),
        "find-links": "",
        "allow-hosts": "*",
    }
    return Run(buildout=base)


@pytest.fixture(scope="session")
def workspace():
    """Give a folder that every account may enter; those of pytest may not be."""
    folder = Path(tempfile.mkdtemp(prefix="apache-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def build(workspace):
    """Return a function that builds mod_wsgi for a sandbox, once a session."""
    directory = workspace / "builds"
    directory.mkdir()

    def module(home):
        return ModWsgiBuild(buildout(directory), "wsgi", {"mode": "mod_wsgi", "home": str(home)})

    return module


def add_app(home):
    (packages,) = home.glob("lib/python*/site-packages")
    (packages / "tinyapp.py").write_text(TINY_APP)
    return home


@pytest.fixture(scope="session")
def interpreter3(workspace):
    base = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    return reachable_by_all(Path(base), workspace)


@pytest.fixture(scope="session")
def python3(workspace, interpreter3):
    home = workspace / "python3"
    subprocess.run([interpreter3, "-m", "venv", home], check=True)
    needed = ["PasteDeploy", "Paste", "setuptools<81", "waitress"]
    subprocess.run([home / "bin/python", "-m", "pip", "install", "-q", *needed], check=True)
    return add_app(home)


@pytest.fixture(scope="session")
def python2(workspace):
    tool, home = workspace / "virtualenv", workspace / "python2"
    subprocess.run([sys.executable, "-m", "venv", tool], check=True)
    pip = [tool / "bin" / "python", "-m", "pip", "install", "-q", "virtualenv==20.21.1"]
    subprocess.run(pip, check=True)
    base = readable_by_all("python2.7", workspace)
    create = [tool / "bin" / "virtualenv", "-q", "-p", base, home]
    subprocess.run(create, check=True)
    install = [home / "bin" / "python", "-m", "pip", "install", "-q", "PasteDeploy==1.5.2"]
    subprocess.run(install, check=True, stderr=subprocess.DEVNULL)
    return add_app(home)


class Site:
    """A sandbox with one site, its releases, and its private Apache."""

    def __init__(self, root, home=None, **options):
        self.root, self.home, self.number, self.ini = root, home, 0, ""
        self.port, self.ssl_port = free_port(), free_port()
        self.options = {
            "name": "demo",
            "server-name": "demo.example",
            "user": USER,
            "log-folder": "var/log",
            "run-folder": "var/run",
            "data": "var/data/demo",
            "httpd-port": str(self.port),
            "httpd-ssl-port": str(self.ssl_port),
            **options,
        }
        for name in ("log", "run", "data/demo"):
            folder = root / "var" / name
            folder.mkdir(parents=True)
            if os.geteuid() == 0:
                shutil.chown(folder, USER)
        (root / "static").mkdir()
        (root / "static" / "hello.css").write_text("body {}\n")
        (root / "static" / ".git").mkdir()
        (root / "static" / ".git" / "config").write_text("secret\n")

    def release(self, greeting="hello"):
        """Render, and make live, as the part ``release`` does."""
        recipe = ApacheVhost(buildout(self.root), "vhost", dict(self.options))
        self.number += 1
        release = self.root / "releases" / str(self.number)
        atomic.stage(release, recipe.files)
        if self.home:
            atomic.link(release / "demo" / "env", str(self.home))
            ini = (
                "[app:main]\npaste.app_factory = tinyapp:make\n"
                f"greeting = {greeting}\ndata = {converters.ini(self.root)}/var/data/demo\n"
            )
            text = self.ini or ini
            atomic.write(release / "demo" / "production.ini", text.encode(), 0o644)
            # Of the recipe init_script; its option variables.
            variables = json.dumps({"environment": {"TZ": "ABC-3", "SPELLED": "\u00fc"}})
            atomic.write(release / "demo" / "server.json", variables.encode(), 0o644)
        atomic.link(self.root / "current", f"releases/{self.number}")
        return recipe

    def control(self, command):
        script = self.root / "current" / "bin" / "demo-httpd"
        return subprocess.run([script, command], capture_output=True, text=True)

    def start(self):
        self.release()
        started = self.control("start")
        assert started.returncode == 0, started.stderr + self.log()
        return self

    def log(self):
        return "".join(path.read_text() for path in (self.root / "var" / "log").iterdir())

    def request(self, path="/", method="GET", body=None, tls=False, source="", **headers):
        """Ask; a body that is an iterator is sent chunked, from the address ``source``."""
        place = {"timeout": 20, "source_address": (source, 0) if source else None}
        if tls:
            context = ssl._create_unverified_context()
            connection = http.client.HTTPSConnection(
                "127.0.0.1", self.ssl_port, context=context, **place
            )
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, **place)
        with contextlib.closing(connection):
            connection.request(method, path, body, {"Host": "demo.example", **headers})
            response = connection.getresponse()
            return response.status, response.headers, response.read()

    def json(self, path="/", **more):
        status, _, body = self.request(path, **more)
        assert status == 200, (status, body, self.log())
        return json.loads(body)


@pytest.fixture
def site(workspace):
    """Return a function that makes sites; their Apaches are stopped at the end."""
    sites = []

    def make(home=None, **options):
        root = Path(tempfile.mkdtemp(prefix="site-", dir=workspace))
        root.chmod(0o755)
        sites.append(Site(root, home, **options))
        return sites[-1]

    yield make
    for one in sites:
        if (one.root / "current").exists():
            stopped = one.control("stop")
            assert stopped.returncode == 0, stopped.stderr


@pytest.fixture(scope="session")
def certificate(workspace):
    key, chain = workspace / "key.pem", workspace / "chain.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    words += ["-subj", "/CN=demo.example", "-keyout", key, "-out", chain]
    subprocess.run(words, check=True, capture_output=True)
    key.chmod(0o644)
    return {"ssl-certificate": str(chain), "ssl-key": str(key)}


class Backend(BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer = {**dict(self.headers), "port": self.server.server_port, "path": self.path}
        text = json.dumps({**answer, "body": body.decode()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.send_header("X-Powered-By", "Python/3.11")
        self.end_headers()
        self.wfile.write(text)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def backend(port=0):
    server = ThreadingHTTPServer(("127.0.0.1", port), Backend)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def until(condition, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


# What Apache thinks of the files.

BACKENDS = {"one": "127.0.0.1:8080", "two": "127.0.0.1:8080\n127.0.0.1:8081 [::1]:8082"}
MODES = {
    "proxy": {"backends": BACKENDS["one"]},
    "balanced": {"backends": BACKENDS["two"], "lbmethod": "bybusyness"},
    "mod_wsgi": {"mode": "mod_wsgi"},
    "embedded": {"mode": "embedded"},
}


STATIC = "/static = static\n/a.b/c = static"
SHOWN = [
    ("proxy", "", ""),
    ("balanced", "true", STATIC),
    ("mod_wsgi", "false", STATIC),
    ("embedded", "true", ""),
]


@pytest.mark.parametrize(
    ("mode", "tls", "static"),
    select_cases(SHOWN, itertools.product(MODES, ["", "true", "false"], ["", STATIC])),
)
def test_apache_accepts_the_files_of_every_mode(
    site, python3, build, certificate, mode, tls, static
):
    more = {**certificate, "redirect": tls, "hsts": "300"} if tls else {}
    one = site(
        python3,
        module=str(build(python3).module),
        static=static,
        directives="<Location /x>\nHeader set X-Test 1\n</Location>",
        **MODES[mode],
        **more,
    )
    one.release()

    checked = one.control("configtest")

    assert (checked.returncode, checked.stderr) == (0, "")


@needs_root
@pytest.mark.parametrize("mode", MODES)
def test_the_machines_apache_serves_the_same_file(site, python3, build, workspace, mode):
    """Enable it with Debian's own tools, in a copy of the machine's configuration."""
    built = build(python3)
    with backend() as port, backend() as other:
        options = dict(MODES[mode])
        if "backends" in options:
            used = [port, other] if mode == "balanced" else [port]
            options["backends"] = " ".join(f"127.0.0.1:{number}" for number in used)
        one = site(python3, module=str(built.module), **options)
        one.options["listen-port"] = str(one.port)
        # Embedded, the application is run by Apache's own account.
        (one.root / "var" / "data" / "demo").chmod(0o777)
        recipe = one.release()
        atomic.write(one.root / "wsgi.load", built.files[0].text.encode())
        machine = Machine(one, workspace)
        with machine.running(recipe.published()["modules"].split()):
            status, headers, body = one.request("/page")

    assert status == 200, (body, one.log(), machine.log())
    assert json.loads(body)["path"] == "/page"
    assert headers["Server"] == "Apache"


class Machine:
    """A copy of ``/etc/apache2`` that has its own ports, logs and pid file."""

    def __init__(self, site, workspace):
        self.folder = Path(tempfile.mkdtemp(prefix="machine-", dir=workspace))
        self.folder.chmod(0o755)
        self.etc = self.folder / "apache2"
        shutil.copytree("/etc/apache2", self.etc, symlinks=True)
        (self.etc / "ports.conf").write_text("")
        (self.etc / "sites-enabled" / "000-default.conf").unlink()
        envvars = (self.etc / "envvars").read_text()
        changed = re.sub(r"=/var/(run|lock|log)/apache2\$SUFFIX", f"={self.folder}", envvars)
        (self.etc / "envvars").write_text(changed)
        wsgi = (site.root / "wsgi.load").read_text()
        (self.etc / "mods-available" / "wsgi.load").write_text(wsgi)
        # Debian's start-up makes /var/run/apache2, where sockets are otherwise.
        (self.etc / "conf-enabled" / "own.conf").write_text(
            f'<IfModule wsgi_module>\nWSGISocketPrefix "{self.folder}/wsgi"\n</IfModule>\n'
        )
        live = site.root / "current" / "etc" / "apache2" / "sites-available" / "demo.conf"
        shutil.copy(live, self.etc / "sites-available" / "demo.conf")

    def run(self, *command):
        environment = {**os.environ, "APACHE_CONFDIR": str(self.etc)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr + done.stdout + self.log()

    def log(self):
        log = self.folder / "error.log"
        return log.read_text() if log.exists() else ""

    @contextlib.contextmanager
    def running(self, modules):
        self.run("a2enmod", "-q", *modules)
        self.run("a2ensite", "-q", "demo")
        self.run("apache2ctl", "start")
        try:
            yield
        finally:
            pid = int((self.folder / "apache2.pid").read_text())
            self.run("apache2ctl", "stop")
            assert until(lambda: not Path("/proc", str(pid)).exists(), 20)


# mod_wsgi.

PYTHONS = ["python3", "python2"]


@pytest.fixture
def served(request, site, build):
    """Return a function that serves the application of a sandbox with mod_wsgi."""

    def serve(python, mode, **options):
        home = request.getfixturevalue(python)
        module = str(build(home).module)
        return site(home, mode=mode, module=module, static="/static = static", **options)

    return serve


@pytest.mark.parametrize("mode", ["mod_wsgi", "embedded"])
@pytest.mark.parametrize("python", PYTHONS)
def test_mod_wsgi_serves_pages_files_and_forms(served, python, mode):
    one = served(python, mode).start()

    page = one.json("/a page?b=1".replace(" ", "%20"), Authorization="Basic eA==")
    posted = one.json("/", method="POST", body="name=value")

    assert (page["path"], page["query"], page["scheme"]) == ("/a page", "b=1", "http")
    assert page["python"] == ("2.7" if python == "python2" else "{}.{}".format(*sys.version_info))
    assert page["authorization"] == "Basic eA=="
    assert page["zone"] == "ABC"
    assert page["eggs"] == str(one.root / "var" / "data" / "demo" / "egg-cache")
    assert posted["body"] == "name=value"
    assert one.request("/static/hello.css")[2] == b"body {}\n"
    assert one.request("/static/hello.css")[1]["Content-Type"] == "text/css"
    assert one.request("/static/")[0] in (403, 404)
    assert one.request("/static/.git/config")[0] == 403


@pytest.mark.parametrize("python", PYTHONS)
def test_the_application_is_loaded_once_a_process_before_the_first_request(served, python):
    one = served(python, "mod_wsgi").start()
    loaded = one.root / "var" / "data" / "demo" / "loaded"

    assert until(lambda: loaded.exists() and len(loaded.read_text().split()) == 2, 10), one.log()
    for _ in range(10):
        one.json()

    assert len(loaded.read_text().split()) == 2


@needs_root
def test_daemon_processes_run_as_the_sites_user(served):
    assert served("python3", "mod_wsgi").start().json()["uid"] == 65534


@pytest.mark.parametrize("python", PYTHONS)
def test_a_new_release_shows_at_the_next_request(served, python):
    one = served(python, "mod_wsgi").start()
    before = one.json()["greeting"]

    one.release("goodbye")

    assert (before, one.json()["greeting"]) == ("hello", "goodbye")


@contextlib.contextmanager
def interrupted_load(one):
    """Start Apache, and hold the application in the middle of being loaded."""
    data = one.root / "var" / "data" / "demo"
    os.mkfifo(data / "gate")
    one.start()
    assert until((data / "loaded").exists, 20), one.log()
    yield
    with (data / "gate").open("w"):
        (data / "gate").unlink()


@pytest.mark.parametrize("python", PYTHONS)
def test_a_release_that_goes_live_while_the_last_is_loaded_shows(served, python):
    one = served(python, "mod_wsgi", processes="1")

    with interrupted_load(one):
        one.release("goodbye")

    assert one.json()["greeting"] == "goodbye"


@pytest.mark.parametrize("python", PYTHONS)
def test_a_script_touched_while_it_is_loaded_is_loaded_again(served, python):
    one = served(python, "mod_wsgi", processes="1")

    with interrupted_load(one):
        os.utime(one.root / "current" / "demo" / "dispatch.wsgi")
    one.json()

    assert len((one.root / "var" / "data" / "demo" / "loaded").read_text().split()) == 2


def test_a_touched_script_reloads_the_application(served):
    one = served("python3", "mod_wsgi").start()
    one.json()
    loaded = one.root / "var" / "data" / "demo" / "loaded"
    count = len(loaded.read_text().split())

    later = time.time() + 5
    os.utime(one.root / "current" / "demo" / "dispatch.wsgi", (later, later))
    one.json()

    assert len(loaded.read_text().split()) > count


def test_graceful_serves_a_new_release_of_an_embedded_site(served):
    one = served("python3", "embedded").start()
    one.json()
    one.release("goodbye")

    assert one.control("graceful").returncode == 0

    assert one.json()["greeting"] == "goodbye"


@pytest.mark.parametrize("python", PYTHONS)
def test_an_embedded_environment_comes_before_the_machines_packages(served, python):
    one = served(python, "embedded").start()

    packages = [path for path in one.json()["sys.path"] if path.endswith("-packages")]

    assert packages[0].startswith(str(one.home))


def test_an_environment_of_another_python_is_named_in_the_log(site, python2, python3, build):
    one = site(python2, mode="embedded", module=str(build(python3).module)).start()

    assert one.request()[0] == 500
    expected = (
        f"mod_wsgi runs {python3.joinpath('bin', 'python').resolve().name}, but the environment "
        f"{python2} is for python2.7: load a mod_wsgi that is built for it"
    )
    assert expected in one.log()


def test_a_path_with_odd_characters_is_served(served, workspace):
    one = served("python3", "mod_wsgi")
    odd = workspace / "odd 'path' & $1 <ü>;~^"
    one.root.rename(odd)
    one.root = odd
    one.start()

    assert one.json()["greeting"] == "hello"
    odd_stopped = one.control("stop")
    assert odd_stopped.returncode == 0


@pytest.mark.parametrize("python", PYTHONS)
def test_mod_wsgi_refuses_a_body_that_is_too_large(served, python):
    one = served(python, "mod_wsgi", **{"max-body": "1000"}).start()

    assert one.request("/", "POST", "x" * 2000)[0] == 413
    assert one.request("/", "POST", iter([b"x" * 2000]))[0] in (400, 413)
    assert one.json("/", method="POST", body=iter([b"x" * 900]))["body"] == "x" * 900


def test_the_module_is_not_built_again(build, python3):
    build(python3)

    start = time.monotonic()
    build(python3)

    assert time.monotonic() - start < 1


# The proxy.


def test_a_backend_sees_the_clients_request(site):
    with backend() as port:
        one = site(backends=f"127.0.0.1:{port}", static="/static = static").start()
        seen = one.json("/a%20b?c=d", method="POST", body="e", Proxy="http://evil")
        file = one.request("/static/hello.css")[2]

    assert (seen["path"], seen["body"], seen["Host"]) == ("/a%20b?c=d", "e", "demo.example")
    assert (seen["X-Forwarded-Proto"], seen["X-Forwarded-For"]) == ("http", "127.0.0.1")
    assert "Proxy" not in seen
    assert seen["Connection"] == "close"
    assert file == b"body {}\n"


def test_a_backend_that_was_down_is_found_again(site):
    port = free_port()
    one = site(backends=f"127.0.0.1:{port}", retry="1").start()

    down = one.request()[0]
    with backend(port):
        back = until(lambda: one.request()[0] == 200, 3)

    assert (down, back) == (503, True)


def test_requests_are_balanced_and_one_backend_may_fail(site):
    with backend() as first, contextlib.ExitStack() as stack:
        second = stack.enter_context(backend())
        one = site(backends=f"127.0.0.1:{first} 127.0.0.1:{second}").start()
        both = {one.json()["port"] for _ in range(8)}
        stack.close()
        rest = {one.json()["port"] for _ in range(8)}

    assert both == {first, second}
    assert rest == {first}


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [("TRACE", {}, 405), ("CONNECT", {}, 405), ("GET", {"X-Long": "x" * 9000}, 400)],
)
def test_paths_that_no_client_needs_are_refused(site, method, headers, status):
    with backend() as port:
        one = site(backends=f"127.0.0.1:{port}").start()
        path = "evil.example:443" if method == "CONNECT" else "/"

        assert one.request(path, method, **headers)[0] == status


def test_a_body_that_is_too_large_is_refused(site):
    with backend() as port:
        one = site(backends=f"127.0.0.1:{port}", **{"max-body": "1000"}).start()

        assert one.request("/", "POST", "x" * 2000)[0] == 413
        assert one.request("/", "POST", iter([b"x"]))[0] == 411
        assert one.request("/", "POST", "x" * 900)[0] == 200


def test_no_version_is_reported(site):
    port = free_port()
    one = site(backends=f"127.0.0.1:{port}").start()

    status, headers, body = one.request()

    assert (status, headers["Server"]) == (503, "Apache")
    assert b"Apache" not in body


def test_http_leads_to_https_and_keeps_the_path(site, certificate):
    with backend() as port:
        one = site(backends=f"127.0.0.1:{port}", hsts="300", **certificate).start()
        status, headers, _ = one.request("/a/b?c=d")
        secure, secure_headers, body = one.request("/a/b?c=d", tls=True)

    assert (status, headers["Location"]) == (301, f"https://demo.example:{one.ssl_port}/a/b?c=d")
    assert (secure, secure_headers["Strict-Transport-Security"]) == (200, "max-age=300")
    assert json.loads(body)["X-Forwarded-Proto"] == "https"


MIRROR = """
import json


def make(global_conf):
    def application(environ, start_response):
        seen = dict((k, v) for k, v in environ.items() if isinstance(v, str))
        seen["body"] = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)).decode()
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(seen).encode()]

    return application


def cheroot(application, global_conf, host, port):
    from cheroot import wsgi

    wsgi.Server((host, int(port)), application).start()
"""
SERVE = """
import sys

from paste.deploy import loadapp, loadserver

config = "config:" + sys.argv[1]
loadserver(config)(loadapp(config, *sys.argv[2:]))
"""

SERVERS = {
    "waitress": "use = egg:waitress#main",
    "waitress on ::1": "use = egg:waitress#main",
    "Paste": "use = egg:Paste#http",
    "gunicorn": "use = egg:gunicorn#main\nworkers = 2",
    "cheroot": "paste.server_runner = mirror:cheroot",
}
WITH_APACHE = {"mod_wsgi daemon": "mod_wsgi", "mod_wsgi embedded": "embedded"}
FRONT = "127.0.0.2"
AGREED = {"prefix": "/wiki", "max-body": "20000", "timeout": "50"}


@pytest.fixture(scope="session")
def with_servers(python3):
    """Return the environment with the other servers, and an application that tells its environ."""
    pip = [python3 / "bin/python", "-m", "pip", "install", "-q", "gunicorn", "cheroot"]
    subprocess.run(pip, check=True)
    (packages,) = python3.glob("lib/python*/site-packages")
    (packages / "mirror.py").write_text(MIRROR)
    return python3


def mirror_ini(root, port, server, template="", **options):
    """Return the path of an ini that has our options, for an application that tells its environ."""
    text = f"[server:main]\n{server}\n[app:main]\npaste.app_factory = mirror:make\n"
    config = Ini(template or text)
    texts = {"name": "demo", "home": "/", "egg": "Demo", "port": str(port), "data": "/"}
    texts |= {"log-file": f"{root}/log", "secrets-folder": "/secrets", **options}
    apply_options(config, parse(IniOptions, "ini", texts))
    ini = root / "mirror.ini"
    ini.write_text(str(config))
    ini.chmod(0o644)
    return ini


@contextlib.contextmanager
def served_by(python, ini, port, host="127.0.0.1"):
    # As bin/<site> has paster load it.
    name = [BEHIND_WEB_SERVER] if f"[filter-app:{BEHIND_WEB_SERVER}]" in ini.read_text() else []
    with subprocess.Popen([python, "-c", SERVE, ini, *name], stderr=subprocess.DEVNULL) as server:
        try:
            assert until(lambda: can_connect(port, host), 20)
            yield
        finally:
            server.terminate()


@pytest.fixture(params=[*SERVERS, *WITH_APACHE])
def mirror(request, site, certificate, build, with_servers, tmp_path):
    """Serve the application that tells its environ; both ends have the same declaration."""
    options = {**certificate, **AGREED, "redirect": "false", "trusted-proxies": FRONT}
    if mode := WITH_APACHE.get(request.param):
        one = site(with_servers, module=str(build(with_servers).module), mode=mode, **options)
        ini = mirror_ini(one.root / "var/log", 1, "", mode=mode, **AGREED)
        one.ini = ini.read_text()
        yield one.start()
        return
    port, host = free_port(), "[::1]" if "::1" in request.param else "127.0.0.1"
    ini = mirror_ini(tmp_path, port, SERVERS[request.param], host=host, **AGREED)
    with served_by(with_servers / "bin/python", ini, port, host.strip("[]")):
        options["chunked-bodies"] = "pass" if "waitress" in request.param else "spool"
        yield site(backends=f"{host}:{port}", **options).start()


FORGED = {
    "X-Forwarded-For": "6.6.6.6",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Server": "evil.example",
    "X-Forwarded-Scheme": "evil",
    "X-Forwarded-Port": "66666",  # more than a real one can be
    "X-Real-IP": "6.6.6.6",
    "X-Client-IP": "6.6.6.6",
    "Forwarded": "for=6.6.6.6;proto=evil;host=evil.example",
}
BY_FRONT = {"X-Forwarded-For": "6.6.6.6, 9.9.9.9", "X-Forwarded-Proto": "https"}


def test_both_ends_agree_on_who_asks_and_how(mirror):
    """One row of the table in docs/apache.rst."""
    cells = {
        "http": (False, {}, "", ("http", "127.0.0.1")),
        "https": (True, {}, "", ("https", "127.0.0.1")),
        "http, forged": (False, FORGED, "", ("http", "127.0.0.1")),
        "https, forged": (
            True,
            {**FORGED, "X-Forwarded-Proto": "http"},
            "",
            ("https", "127.0.0.1"),
        ),
        "second end, http": (False, BY_FRONT, FRONT, ("https", "9.9.9.9")),
        "second end, https": (True, BY_FRONT, FRONT, ("https", "9.9.9.9")),
        "second end, forged": (False, {**FORGED, **BY_FRONT}, FRONT, ("https", "9.9.9.9")),
        "second end, by http": (False, {"X-Forwarded-For": "9.9.9.9"}, FRONT, ("http", "9.9.9.9")),
    }
    for name, (tls, headers, source, (scheme, address)) in cells.items():
        seen = mirror.json("/wiki/a%20b?c=d", tls=tls, source=source, **headers)
        assert (seen["wsgi.url_scheme"], seen["REMOTE_ADDR"]) == (scheme, address), name
        assert (seen["SCRIPT_NAME"], seen["PATH_INFO"]) == ("/wiki", "/a b"), name
        assert (seen["HTTP_HOST"], seen["QUERY_STRING"]) == ("demo.example", "c=d"), name
        found = {k: v for k, v in seen.items() if re.search(r"6\.6\.6|66666|evil", v)}
        assert found == {}, name


def test_both_ends_agree_on_bodies_hosts_and_spellings(mirror):
    sent = mirror.json("/wiki", method="POST", body=iter([b"ab", b"c" * 18000]))
    assert (sent["body"], sent["CONTENT_LENGTH"]) == ("ab" + "c" * 18000, "18002")
    assert "HTTP_TRANSFER_ENCODING" not in sent
    whole = mirror.json("/wiki", method="POST", body="x" * 20000)
    assert len(whole["body"]) == 20000

    too_much = mirror.request("/wiki", "POST", iter([b"x" * 9000] * 9))[0]
    statuses = {
        "too large": mirror.request("/wiki", "POST", "x" * 20001)[0],
        "other path": mirror.request("/wikipedia")[0] in (403, 404),
        "other host": mirror.request("/wiki", Host="evil.example")[0],
        "this machine": mirror.request("/wiki", Host=f"127.0.0.1:{mirror.port}")[0],
        "CONNECT": mirror.request("evil.example:443", "CONNECT")[0] in (403, 405),
        "underscores": mirror.request("/wiki", **{"X_Forwarded-For": "6.6.6.6"})[0],
        "SCRIPT_NAME": mirror.request("/wiki", **{"SCRIPT_NAME": "/evil"})[0],
    }

    # Of other servers Apache does not know that they limit it: by default it refuses all of these.
    assert too_much in (400, 413) or mirror.options.get("chunked-bodies") == "spool"
    assert statuses == {
        "too large": 413,
        "other path": True,
        "other host": 421,
        "this machine": 200,
        "CONNECT": True,
        "underscores": 400,
        "SCRIPT_NAME": 400,
    }


def test_second_tls_end_is_not_sent_to_the_first(site, certificate):
    with backend() as port:
        one = site(backends=f"127.0.0.1:{port}", **{**certificate, "trusted-proxies": FRONT})
        one.start()

        statuses = [
            one.request(source=source, **headers)[0]
            for source, headers in (("", {}), ("", BY_FRONT), (FRONT, {}), (FRONT, BY_FRONT))
        ]

    assert statuses == [301, 301, 301, 200]


AS_PASTEDEPLOY_HAS_IT = """
[DEFAULT]
debug = true
greeting = default
[server:main]
use = egg:Paste#http
threadpool_workers = 7
[server:other]
use = egg:gunicorn#main
[composite:main]
use = egg:Paste#urlmap
/ = front
/set = set
/get = get
/other = config:other.ini#named
[pipeline:front]
pipeline = quiet app
[filter-app:set]
use = quiet
next = with_set
[app:with_set]
use = app
set greeting = set
[app:get]
use = app
get debug = debug
[app:app]
paste.app_factory = conf:make
debug = true
[filter:quiet]
paste.filter_factory = conf:quiet
"""
CONF = """
import json


def make(global_conf, **conf):
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "application/json")])
        seen = [global_conf["greeting"], global_conf["debug"], conf, "quiet" in environ]
        return [json.dumps([*seen, environ["REMOTE_ADDR"]]).encode()]

    return application


def quiet(global_conf):
    return lambda app: lambda environ, start: app(dict(environ, quiet=1), start)
"""


def test_whatever_pastedeploy_calls_main_is_served(site, with_servers, tmp_path):
    (packages,) = with_servers.glob("lib/python*/site-packages")
    (packages / "conf.py").write_text(CONF)
    other = "[app:named]\npaste.app_factory = conf:make\nname = other\n"
    (tmp_path / "other.ini").write_text(other)
    port = free_port()
    ini = mirror_ini(tmp_path, port, "", template=AS_PASTEDEPLOY_HAS_IT)
    assert Ini(ini.read_text()).get("server:main", "threadpool_workers") == "7"
    with served_by(with_servers / "bin/python", ini, port):
        one = site(backends=f"127.0.0.1:{port}").start()
        seen = {path: one.json(path, source=FRONT) for path in ("/", "/set", "/get", "/other")}

    assert seen == {
        "/": ["default", "false", {}, True, FRONT],
        "/set": ["set", "false", {}, True, FRONT],
        "/get": ["default", "false", {"debug": "false"}, False, FRONT],
        "/other": ["default", "false", {"name": "other"}, False, FRONT],
    }


# Mozilla's "intermediate", guidelines 6.0, for a certificate of RSA and for one of ECDSA.
TLS_13 = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}
TLS_12 = {"AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"}


def handshake(port, version, *words):
    """Return the cipher that a client and the server agree upon; empty if they do not."""
    command = ["openssl", "s_client", "-brief", f"-{version}", *words]
    output = subprocess.run(
        [*command, "-connect", f"127.0.0.1:{port}"], input="", capture_output=True, text=True
    ).stderr
    agreed = re.search(r"CONNECTION ESTABLISHED(?s:.)*Ciphersuite: (\S+)", output)
    return agreed[1] if agreed else ""


def agreed_ciphers(port):
    """Return every cipher of TLS 1.2, then 1.3, that the server takes."""
    listed = ["openssl", "ciphers", "-s", "-tls1_2", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"]
    offered = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.strip()
    older, newer = set(), set()
    while left := [name for name in offered.split(":") if name not in older]:
        found = handshake(port, "tls1_2", "-cipher", ":".join([*left, "@SECLEVEL=0"]))
        if not found:
            break
        older.add(found)
    every = [*sorted(TLS_13), "TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256"]
    while left := [name for name in every if name not in newer]:
        found = handshake(port, "tls1_3", "-ciphersuites", ":".join(left))
        if not found:
            break
        newer.add(found)
    return older, newer


@pytest.mark.parametrize("kind", ["RSA", "ECDSA"])
def test_tls_is_mozillas_intermediate(site, certificate, workspace, kind):
    files = dict(certificate)
    if kind == "ECDSA":
        key, chain = workspace / "ec-key.pem", workspace / "ec-chain.pem"
        words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"]
        words += ["ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        words += ["-subj", "/CN=demo.example", "-keyout", key, "-out", chain]
        subprocess.run(words, check=True, capture_output=True)
        key.chmod(0o644)
        files = {"ssl-certificate": str(chain), "ssl-key": str(key)}
    with backend() as port:
        one = site(backends=f"127.0.0.1:{port}", **files).start()

        old = [handshake(one.ssl_port, v, "-cipher", "ALL:@SECLEVEL=0") for v in ("tls1", "tls1_1")]
        found = agreed_ciphers(one.ssl_port)

    assert old == ["", ""]
    assert found == ({f"ECDHE-{kind}-{cipher}" for cipher in TLS_12}, TLS_13)
    print(f"{kind}: TLS 1.0, 1.1 refused; agreed upon: {', '.join(sorted(found[0] | found[1]))}")


POST = b"POST / HTTP/1.1\r\nHost: demo.example\r\nContent-Length: "
HALF_SENT = {
    "headers": b"GET / HTTP/1.1\r\nHost: demo.example\r\nX-Slow: 1",
    "body": POST + b"9\r\n\r\nname",
    # By itself Apache reads neither of these as a whole before it asks a backend.
    "large body": POST + b"90000\r\n\r\n" + b"x" * 45000,
    "promised body": POST + b"9\r\nExpect: 100-continue\r\n\r\nname",
}


@pytest.fixture
def hosted(request, site):
    """Return a function that serves a site of a mode, by the private or the machine's Apache."""

    def serve(stack, mode, machine=False):
        options = dict(MODES[mode])
        if mode == "proxy":
            options["backends"] = f"127.0.0.1:{stack.enter_context(backend())}"
        python3, build = map(request.getfixturevalue, ("python3", "build"))
        one = site(python3, module=str(build(python3).module), **options)
        if not machine:
            return one.start()
        one.options["listen-port"] = str(one.port)
        (one.root / "var" / "data" / "demo").chmod(0o777)
        recipe = one.release()
        atomic.write(one.root / "wsgi.load", build(python3).files[0].text.encode())
        own = Machine(one, request.getfixturevalue("workspace"))
        stack.enter_context(own.running(recipe.published()["modules"].split()))
        return one

    return serve


PASTE = """
import sys

from paste import httpserver


def application(environ, start_response):
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("200 OK", [("Content-Length", "0")])
    return []


httpserver.serve(application, "127.0.0.1", sys.argv[1])
"""


@contextlib.contextmanager
def paste_server(python):
    """Serve as Paste does: a thread is kept by whoever sends a body slowly."""
    port = free_port()
    with subprocess.Popen([python, "-c", PASTE, str(port)], stdout=subprocess.DEVNULL) as server:
        try:
            assert until(lambda: can_connect(port), 20)
            yield port
        finally:
            server.kill()


def can_connect(port, host="127.0.0.1"):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as client:
        return client.connect_ex((host, port)) == 0


def seconds_of_a_fresh_request(port, half, number=40):
    """Ask while others have sent half of what they want to."""
    with contextlib.ExitStack() as stack:
        for _ in range(number):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            connection.sendall(HALF_SENT[half])
        time.sleep(0.5)

        began = time.monotonic()
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        stack.enter_context(contextlib.closing(client))
        client.request("GET", "/", headers={"Host": "demo.example"})
        assert client.getresponse().status == 200
        return time.monotonic() - began


HELD_UP = [
    ("proxy", "headers", False),
    ("proxy", "large body", True),
    ("mod_wsgi", "body", False),
    ("mod_wsgi", "headers", True),
    ("embedded", "promised body", True),
]


@needs_root
@pytest.mark.parametrize(
    ("mode", "half", "machine"),
    select_cases(
        HELD_UP, itertools.product(["proxy", "mod_wsgi", "embedded"], HALF_SENT, [False, True])
    ),
)
def test_forty_half_sent_requests_do_not_keep_a_fresh_one_waiting(hosted, mode, machine, half):
    with contextlib.ExitStack() as stack:
        one = hosted(stack, mode, machine)
        assert one.request()[0] == 200

        took = seconds_of_a_fresh_request(one.port, half)

    which = "the machine's" if machine else "a private"
    print(f"{mode}, {which} Apache, 40 with half their {half}: answered after {took:.3f} s")
    assert took < 1


@pytest.mark.parametrize("half", ["body", "large body"])
def test_forty_half_sent_bodies_do_not_block_mod_wsgi_on_python_2(served, half):
    one = served("python2", "mod_wsgi").start()
    assert one.request()[0] == 200

    assert seconds_of_a_fresh_request(one.port, half) < 1
    large = one.json("/", method="POST", body="x" * 2_000_000)

    assert large["body"] == "x" * 2_000_000


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("threads", [1, 3])
def test_the_application_has_no_more_requests_at_once_than_threads(served, python, threads):
    one = served(python, "mod_wsgi", processes="1", threads=str(threads)).start()

    with ThreadPoolExecutor(12) as clients:
        found = list(clients.map(one.json, ["/slow"] * 24))

    assert max(answer["beside"] for answer in found) == threads
    assert {answer["multithread"] for answer in found} == {threads > 1}


@pytest.mark.parametrize("half", ["body", "large body", "promised body"])
def test_forty_half_sent_bodies_do_not_block_pastes_server(site, python3, half):
    with paste_server(python3 / "bin" / "python") as port:
        one = site(backends=f"127.0.0.1:{port}").start()

        assert seconds_of_a_fresh_request(one.port, half) < 1


def test_client_that_is_too_slow_is_disconnected(site):
    """As ``request-timeouts`` says, so that the 40 do not stay for good."""
    with backend() as port:
        slow = {"request-timeouts": "header=1-2,MinRate=500 body=1,MinRate=500"}
        one = site(backends=f"127.0.0.1:{port}", **slow).start()
        with socket.create_connection(("127.0.0.1", one.port), timeout=10) as connection:
            connection.sendall(HALF_SENT["headers"])

            answer = connection.recv(100)

    assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("mode", ["proxy", "mod_wsgi", "embedded"])
def test_trace_is_refused_and_no_version_shown(hosted, mode):
    asked = {
        "a page": ("GET", "/", {}),
        "TRACE": ("TRACE", "/", {}),
        "TRACE to the proxy": ("TRACE", "/", {"Max-Forwards": "0"}),
        "what is forbidden": ("GET", "/static/.git", {}),
        "a bad request": ("GET", "/%", {}),
        "too long a header": ("GET", "/", {"X-Long": "x" * 9000}),
        "too large a body": ("POST", "/", {"Content-Length": "99999999"}),
    }
    with contextlib.ExitStack() as stack:
        one = hosted(stack, mode)
        found = {
            name: one.request(path, method, **more) for name, (method, path, more) in asked.items()
        }

    statuses = {name: status for name, (status, _, _) in found.items()}
    assert (statuses["a page"], statuses["TRACE"], statuses["TRACE to the proxy"]) == (
        200,
        405,
        405,
    )
    for name, (status, headers, body) in found.items():
        assert headers["Server"] == "Apache", name
        output = "".join(f"{key}: {value}\n" for key, value in headers.items())
        if status != 200:
            output += body.decode()
        assert not re.search(r"(Apache|mod_wsgi|Python|OpenSSL|waitress|Paste)[ /][0-9]", output), (
            output
        )
        assert "X-Powered-By" not in headers


@needs_root
def test_a_link_among_static_files_does_not_lead_to_another_accounts(site):
    with backend() as port:
        one = site(backends=f"127.0.0.1:{port}", static="/static = static").start()
        (one.root / "mine.css").write_text("mine")
        (one.root / "theirs.css").write_text("theirs")
        shutil.chown(one.root / "theirs.css", "games")
        for name in ("mine", "theirs"):
            (one.root / f"static/{name}.css").symlink_to(f"../{name}.css")

        found = {name: one.request(f"/static/{name}.css")[0] for name in ("mine", "theirs")}

    assert found == {"mine": 200, "theirs": 403}


# bin/<site>-httpd.


def test_the_private_apache_is_not_roots(site):
    one = site(backends="127.0.0.1:9").start()
    pid = int((one.root / "var" / "run" / "demo-httpd.pid").read_text())

    assert os.stat(f"/proc/{pid}").st_uid != 0


@needs_root
def test_an_ordinary_account_runs_the_private_apache(site, interpreter3, monkeypatch):
    monkeypatch.setattr("pylonyard.packages.interpreters.interpreter", lambda: interpreter3)
    with backend() as port:
        one = site(backends=f"127.0.0.1:{port}")
        one.release()
        script = one.root / "current" / "bin" / "demo-httpd"
        # The checkout may be where nobody else can read it.
        shutil.copytree(ROOT / "recipes" / "pylonyard", one.root / "recipes" / "pylonyard")
        script.write_text(script.read_text().replace(f"{ROOT}/recipes", f"{one.root}/recipes"))
        words = ["/usr/bin/setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", script]

        environment = {"LD_LIBRARY_PATH": str(interpreter3.parent.parent / "lib")}
        started = subprocess.run([*words, "start"], env=environment, capture_output=True, text=True)

        assert started.returncode == 0, started.stderr
        assert one.json()["port"] == port


def test_the_control_script_keeps_to_the_lsb(site):
    one = site(backends="127.0.0.1:9")
    one.release()

    def status(command):
        return one.control(command).returncode

    assert [status(c) for c in ("status", "stop", "graceful", "nonsense")] == [3, 0, 7, 2]
    assert [status(c) for c in ("start", "start", "status", "restart", "graceful")] == [0] * 5
    assert [status(c) for c in ("stop", "status")] == [0, 3]


def test_an_apache_is_stopped_by_whom_has_no_standard_input(site):
    one = site(backends="127.0.0.1:9").start()
    script = one.root / "current" / "bin" / "demo-httpd"

    stopped = subprocess.run(["sh", "-c", f"'{script}' stop <&-"], capture_output=True, text=True)

    assert (stopped.returncode, stopped.stdout) == (0, "demo-httpd has stopped\n")
    assert one.control("status").returncode == 3


def test_a_taken_port_is_reported_in_one_line(site):
    with backend() as port:
        one = site(backends="127.0.0.1:9", **{"httpd-port": str(port)})
        one.release()

        started = one.control("start")

    message = f"demo-httpd: cannot listen on 127.0.0.1:{port}: Address already in use\n"
    assert (started.returncode, started.stderr) == (1, message)


def test_a_bad_configuration_leaves_it_running(site):
    with backend() as port:
        one = site(backends=f"127.0.0.1:{port}").start()
        one.options["directives"] = "NoSuchDirective 1"
        one.release()

        restarted = one.control("restart")

        assert restarted.returncode == 6
        assert "Invalid command 'NoSuchDirective'" in restarted.stderr
        assert restarted.stderr.count("\n") == 1
        assert one.request()[0] == 200


def test_an_unrelated_process_is_not_signalled(site):
    one = site(backends="127.0.0.1:9")
    one.release()
    with subprocess.Popen(["sleep", "60"]) as innocent:
        for text in (str(innocent.pid), "-1", "1", "x"):
            (one.root / "var" / "run" / "demo-httpd.pid").write_text(text)
            assert one.control("stop").returncode == 0
        survived = innocent.poll() is None
        innocent.kill()

    assert survived


# The page "Rules before the application": each of its examples.

RULES = ROOT / "docs" / "rules-before-the-application.rst"

WEBSOCKET_SERVER = """
import sys, trio
from trio_websocket import ConnectionClosed, serve_websocket

async def echo(request):
    connection = await request.accept()
    while True:
        try:
            await connection.send_message((await connection.get_message()).upper())
        except ConnectionClosed:
            return

async def main():
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_websocket, echo, "127.0.0.1", int(sys.argv[1]), None)
        print("there", flush=True)

trio.run(main)
"""


def examples_of_rules():
    """Return the options of all examples of the page, as one section."""
    found = {}
    for block in re.findall(r"(?m)^\.\. code-block:: ini\n\n((?:    .*\n|\n)+)", RULES.read_text()):
        config = configparser.RawConfigParser(strict=True)
        config.read_string(re.sub(r"(?m)^    ", "", block))
        for name, value in config["vhost"].items():
            found.setdefault(name, []).append(value)
    return {name: "\n".join(values) for name, values in found.items()}


def anna(password):
    return {"Authorization": "Basic " + base64.b64encode(f"anna:{password}".encode()).decode()}


@pytest.mark.parametrize("mode", ["proxy", "mod_wsgi"])
def test_each_rule_of_the_page_holds_in_each_mode(site, python3, build, certificate, mode):
    with backend() as port, backend() as blog:
        one = site(
            python3,
            mode=mode,
            backends=f"127.0.0.1:{port}",
            module=str(build(python3).module) if mode == "mod_wsgi" else "",
            **{**certificate, "server-alias": "www.example.net"},
        )
        for name, text in examples_of_rules().items():
            own = text.replace("/srv/simplesite", str(one.root)).replace(":9000", f":{blog}")
            one.options[name] = own
        for folder, name in (("web", "robots.txt"), ("acme", "token")):
            (one.root / folder).mkdir()
            (one.root / folder / name).write_text(name)
        password = ["htpasswd", "-bc", one.root / "web.htpasswd", "anna", "right"]
        subprocess.run(password, check=True, capture_output=True)
        (one.root / "web.htpasswd").chmod(0o644)
        one.start()

        def got(path, tls=True, **headers):
            status, answered, body = one.request(path, tls=tls, **headers)
            return status, answered.get("Location"), body

        assert one.json("/page", tls=True)["path"] == "/page"
        assert got("/old/page")[:2] == (301, "https://demo.example/new/page")
        assert got("/older", tls=True)[0] == 200
        assert got("/gone/page")[0] == 410
        assert got("/robots.txt")[::2] == (200, b"robots.txt")
        assert f'"port": {blog}, "path": "/blog/1"'.encode() in got("/blog/1")[2]
        assert got("/index.php")[0] == 403
        assert b"Apache Server Status" in got("/server-status")[2]
        assert one.json("/a%2Fb", tls=True)["path"] == "/a/b"
        assert got("/admin")[0] == 401
        assert got("/admin", **anna("wrong"))[0] == 401
        assert got("/admin", **anna("right"))[0] == 200
        assert got("/p", Host="www.example.net")[:2] == (301, "http://www.example.org/p")
        assert one.request("/page", tls=True)[1]["Referrer-Policy"] == "same-origin"

        challenge = "/.well-known/acme-challenge/token"
        assert got(challenge, tls=False)[::2] == (200, b"token")
        secure = f"https://demo.example:{one.ssl_port}"
        for path in ("/old/a b?c=%20".replace(" ", "%20"), "/.well-known/acme-challenger"):
            assert got(path, tls=False)[:2] == (301, secure + path)

        (one.root / "maintenance").touch()
        assert got("/page")[::2] == (503, b"We are back in a few minutes.")
        (one.root / "maintenance").unlink()
        assert got("/page")[0] == 200


@pytest.fixture
def websocket_server():
    port = free_port()
    words = [sys.executable, "-c", WEBSOCKET_SERVER, str(port)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout.readline() == "there\n"
        yield port
        server.terminate()


@pytest.mark.parametrize("backends", [1, 2])
def test_a_websocket_reaches_a_server_of_the_site(site, websocket_server, backends):
    websocket = pytest.importorskip("websocket")
    named = [f"127.0.0.1:{websocket_server}"] * 1 + [f"localhost:{websocket_server}"]
    one = site(backends=" ".join(named[:backends]), websockets="/live")
    one.options["request-timeouts"] = "header=5 body=1"
    one.start()

    client = websocket.create_connection(
        f"ws://127.0.0.1:{one.port}/live/1", host="demo.example", timeout=20
    )
    said = []
    for text in ("one", "x" * 100_000):
        client.send(text)
        said.append(client.recv())
        time.sleep(1.1)  # the limit of a body
    with pytest.raises(websocket.WebSocketBadStatusException):
        websocket.create_connection(
            f"ws://127.0.0.1:{one.port}/other", host="demo.example", timeout=20
        )
    client.close()

    assert said == ["ONE", "X" * 100_000]
