"""The real paster, started, stopped and killed. Each scenario has a pid namespace.

A scenario is run by this very file, as a program under unshare: whatever it signals,
and whatever it leaves, is inside.
"""

import contextlib
import http.client
import json
import os
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from load import expect_no_failures, get, get_keep_alive
from namespaces import require_namespace
from ports import free_port
from pylonyard.server.control import ONE_AT_A_TIME, SOCKETS_NOT_HANDED_OVER
from pylonyard.system.errors import LOOK_FIRST
from pylonyard.system.processes import marked, server_marker, supervisor_marker

pytestmark = pytest.mark.system

PINS = ["PasteScript==3.7.0", "Paste==3.10.1", "PasteDeploy==3.1.0", "waitress==3.0.2"]
PINS += ["gevent==26.9.0", "setproctitle==1.3.8"]
RECIPES = Path(__file__).resolve().parents[2] / "recipes"
UNSHARE = ["unshare", "-pf", "--mount-proc", "--kill-child"]
MAIN = "import sys; from pathlib import Path; from pylonyard.server.cli import main; "
MAIN += "sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))"

APPLICATION = """
import fcntl, json, os, signal, socket, subprocess, threading, time

def factory(global_conf, **options):
    if options.get("title"):
        import setproctitle
        setproctitle.setproctitle(options["title"])
    if options.get("green"):
        from gevent import monkey
        monkey.patch_all()
    if options.get("broken") or os.path.exists(options["crash"]):
        raise RuntimeError("the database is gone")
    time.sleep(float(options.get("delay", 0)))
    if options.get("alone"):
        global held
        held = open("data", "a")
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if options.get("figures"):
        figures = socket.create_server(("127.0.0.1", int(options["figures"])))
        threading.Thread(target=answer, args=(figures,), daemon=True).start()
    if options.get("stubborn"):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def application(environ, start_response):
        time.sleep({"/slow": 2, "/minute": 60}.get(environ["PATH_INFO"], 0))
        time.sleep(float(options.get("thinking", 0)))
        if environ["PATH_INFO"] == "/act":
            subprocess.Popen(json.loads(os.environ["ACT"]), start_new_session=True)
        while os.path.exists(options["hang"]):
            time.sleep(0.1)
        status = "500 Broken" if options.get("failing") else "200 OK"
        body = str(os.getpid()).encode()
        length = ("Content-Length", str(len(body)))  # an answer cut short is none
        start_response(status, [("Content-Type", "text/plain"), length])
        return [body]

    return application


def answer(figures):
    while True:
        client, _ = figures.accept()
        client.recv(1000)
        client.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\n")
        client.close()


class Careless:
    # What it lacks, as long as it has no socket, it asks itself for.

    def __getattr__(self, name):
        return getattr(self.socket, name)

    def listen(self, port):
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        self.socket = listening


def accepting(application, global_conf, port, certificate="", **options):
    # One client after another, each waited for in accept().
    server = Careless()
    server.listen(int(port))
    if certificate == "none":
        raise RuntimeError("no certificate")
    server.socket.listen(5)
    while True:
        client, _ = server.socket.accept()
        if b"/end" in client.recv(1000):
            server.socket.close()
            threading.Event().wait()
        body = str(os.getpid())
        head = "HTTP/1.0 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body)
        client.sendall((head + body).encode())
        client.close()
"""

INI = """
[app:main]
paste.app_factory = shop:factory
hang = {hang}
crash = {crash}
{options}

[server:main]
use = {server}
host = 127.0.0.1
port = {port}
"""

KILLS = 8

SCENARIOS = {}


def scenario(function):
    SCENARIOS[function.__name__] = function
    return function


class Site:
    """A sandbox of its own, and what a person does with it."""

    def __init__(self, paster, server="egg:Paste#http", options="", **settings):
        self.directory = Path(tempfile.mkdtemp(prefix="site-"))
        self.directory.chmod(0o755)
        self.port = free_port()
        self.log = self.directory / "var/log/shop-server.log"
        self.hang = self.directory / "hang"
        self.crash = self.directory / "crash"
        (self.directory / "shop.py").write_text(APPLICATION)
        self.ini = self.directory / "production.ini"
        self.server = server
        self.write_ini(options)
        self.settings = self.defaults(paster) | settings
        self.source = self.directory / "shop/server.json"
        self.source.parent.mkdir()
        self.write_settings()

    def defaults(self, paster):
        var = self.directory / "var"
        paths = {"log": self.log, "application-log": var / "log/shop.log"}
        paths |= {"run": var / "run", "data": var / "data/shop"}
        paths |= {"paster": paster, "ini": self.ini, "sandbox": self.directory}
        return {
            "name": "shop",
            "port": self.port,
            "start-timeout": 20,
            "stop-timeout": 5,
            "environment": {"PYTHONPATH": str(self.directory)},
            **{name: str(path) for name, path in paths.items()},
        }

    def write_ini(self, options=""):
        values = {"hang": self.hang, "crash": self.crash, "port": self.port, "server": self.server}
        self.ini.write_text(INI.format(options=options, **values))

    def write_settings(self, **settings):
        self.settings |= settings
        self.source.write_text(json.dumps(self.settings))

    def begin(self, *words, **options):
        command = [sys.executable, "-c", MAIN, str(self.source), *words]
        environment = {**os.environ, "PYTHONPATH": str(RECIPES)}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, text=True, env=environment, **pipes, **options)

    def do(self, *words, **options):
        """Return the exit status, and all that was printed."""
        process = self.begin(*words, **options)
        out, err = process.communicate(timeout=60)
        return process.returncode, (out + err).strip()

    def start(self):
        assert self.do("start") == (0, f"shop: started, {self.address} answers")

    @property
    def address(self):
        return f"http://127.0.0.1:{self.port}/"

    @property
    def identity(self):
        return f"{self.directory.resolve()}:shop"

    @property
    def servers(self):
        return marked(server_marker(self.identity))

    @property
    def supervisors(self):
        return marked(supervisor_marker(self.identity))

    def nothing_runs(self):
        return not self.servers and not self.supervisors

    def get(self, path="/"):
        """Return the body of the answer: the process that gave it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            connection.request("GET", path)
            return int(connection.getresponse().read())


def eventually(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def quietly(function):
    """Return what ``function`` gives, None if nobody answers."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        return function()


def timed(function):
    began = time.monotonic()
    return function(), time.monotonic() - began


@scenario
def actions_exit_as_lsb_says(paster):
    site = Site(paster)

    assert site.do("status") == (3, "shop: stopped")
    assert site.do("stop") == (0, "shop: not running")
    assert site.do("try-restart") == (0, "shop: not running")
    site.start()
    code, line = site.do("status")
    assert (code, line.endswith(f", {site.address} answers")) == (0, True)
    (first,) = site.servers
    assert f"running, process {first} since 20" in line
    assert site.do("start") == (0, f"shop: already running, {site.address} answers")
    assert site.servers == [first]
    assert site.do("restart") == (0, f"shop: restarted, {site.address} answers")
    assert site.servers != [first]
    assert site.do("try-restart") == (0, f"shop: restarted, {site.address} answers")
    assert site.do("force-reload")[0] == 0
    assert site.do("stop") == (0, "shop: stopped")
    assert site.nothing_runs()
    assert site.do("restart") == (0, f"shop: restarted, {site.address} answers")
    assert site.do("reload") == (3, "shop: cannot reload, use restart")


@scenario
def what_may_run_once_is_restarted_alone(paster):
    """And clients wait meanwhile; by default, the refusal names the option."""
    site = Site(paster, options="alone = yes")
    site.start()
    (before,) = site.servers
    code, said = site.do("restart")
    assert (code, said.startswith("shop: was not restarted, the old server goes on: Blocking")) == (
        1,
        True,
    ), said
    assert said.endswith(ONE_AT_A_TIME)
    assert site.get() == before

    site.write_settings(overlap=False)
    with expect_no_failures(site.address, [get("/")] * 2, "2 restarts of what runs alone"):
        for _ in range(2):
            assert site.do("restart") == (0, f"shop: restarted, {site.address} answers")
    (after,) = site.servers
    assert site.get() == after != before
    site.write_ini("broken = yes")
    code, said = site.do("restart")
    assert code == 1
    assert said.startswith("shop: did not start, and the old server has ended: RuntimeError: ")
    assert site.nothing_runs()


ACTIONS = ("start", "stop", "restart", "force-reload", "status")

PID_FILES = {
    "empty": "",
    "garbage": "not a number",
    "0": "0",
    "1": "1",
    "-1": "-1",
    "10^11": str(10**11),
}

AS_STOPPED = (0, 0, 0, 0, 3)
EXIT_STATUSES = {
    "stopped": AS_STOPPED,
    "running": (0, 0, 0, 0, 0),
    "stale pid": AS_STOPPED,
    **dict.fromkeys(PID_FILES, AS_STOPPED),
    "reused pid": AS_STOPPED,
    "zombie": (0, 0, 0, 0, 1),
    "lost state": (0, 0, 0, 0, 0),
}
"""What the five actions answer in each state of a site, and of its folder run."""


@contextlib.contextmanager
def state(site, name, foreign):
    """Bring a stopped site into a state, in which ``foreign`` is another's process."""
    pid_file = Path(site.settings["run"], "shop.pid")
    pid_file.unlink(missing_ok=True)
    if name in ("running", "zombie", "lost state"):
        site.start()
    if name in PID_FILES:
        pid_file.write_text(PID_FILES[name])
    if name == "stale pid":
        with subprocess.Popen("true") as ended:
            pid_file.write_text(str(ended.pid))
    if name == "reused pid":
        pid_file.write_text(str(foreign.pid))
    if name == "lost state":
        shutil.rmtree(pid_file.parent)
    if name == "zombie":
        # Nobody takes leave of it: its parent is the first process of this namespace.
        (supervisor,) = site.supervisors
        os.kill(supervisor, signal.SIGKILL)
        eventually(lambda: Path(f"/proc/{supervisor}/stat").read_text().split()[2] == "Z")
        eventually(site.nothing_runs)
        pid_file.write_text(str(supervisor))
    yield
    assert site.do("stop")[0] == 0
    assert site.nothing_runs()


def in_state(site, name, foreign):
    """Return what each action answers in a state."""
    site.start()
    site.do("stop")
    answered = []
    for action in ACTIONS:
        with state(site, name, foreign):
            answered.append(site.do(action)[0])
            runs = bool(site.servers)
            assert runs == (action != "stop" and answered[-1] == 0), (name, action)
        assert foreign.poll() is None, f"{action} signalled another's process: {name}"
    return answered


@scenario
def exit_statuses_are_those_of_lsb_in_every_state(paster):
    with subprocess.Popen(["sleep", "1000"]) as foreign, ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda name: in_state(Site(paster), name, foreign), EXIT_STATUSES)
        answered = dict(zip(EXIT_STATUSES, found, strict=True))
        foreign.terminate()
    for name, statuses in answered.items():
        right = tuple(statuses) == EXIT_STATUSES[name]
        print(f"{name:12}", *statuses, "" if right else f"expected {EXIT_STATUSES[name]}")
    assert {name: tuple(statuses) for name, statuses in answered.items()} == EXIT_STATUSES
    print(f"{len(ACTIONS)} actions in {len(answered)} states: {ACTIONS}")


@scenario
def many_starts_at_once_give_one_server(paster):
    site = Site(paster, **{"start-timeout": 250})

    starts = [site.begin("start") for _ in range(100)]

    printed = [start.communicate() for start in starts]
    assert [start.returncode for start in starts] == [0] * 100, printed
    assert (len(site.servers), len(site.supervisors)) == (1, 1)
    print("100 starts at once: 1 server")


@scenario
def killed_server_is_started_again_after_a_pause(paster):
    site = Site(paster)
    site.start()

    for pause in (1, 2):
        (server,) = site.servers
        os.kill(server, signal.SIGKILL)
        eventually(lambda: quietly(site.get) not in (None, server))  # noqa: B023
        assert f"starting it again in {pause} s" in site.log.read_text()

    assert "the server ended: signal SIGKILL" in site.log.read_text()
    assert site.do("stop") == (0, "shop: stopped")


@scenario
def crash_loop_slows_down_until_cron_or_a_person_ends_it(paster):
    site = Site(paster)
    site.start()

    def started():
        return site.log.read_text().count("started the server")

    def crash():
        """Have the server end as soon as it starts, and wait until it does so less often."""
        site.crash.touch()
        before = site.log.read_text().count("starting it again in 4 s")
        os.kill(site.servers[0], signal.SIGKILL)
        eventually(lambda: site.log.read_text().count("starting it again in 4 s") > before)

    starts = started()
    crash()
    assert started() == starts + 2, "after pauses of 1 and 2 s"
    assert quietly(site.get) is None
    with contextlib.suppress(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", site.port)).close()
        raise AssertionError("clients wait for a server that may never come")

    output = f"shop: did not start: RuntimeError: the database is gone, see {site.log}"
    assert site.do("ensure") == (1, output)
    assert site.nothing_runs()
    site.crash.unlink()
    back = f"was started again: {site.address} answers"
    assert site.do("ensure") == (0, f"shop: was not running, {back}")

    # Somebody had the sockets meanwhile, who is gone.
    site.write_ini("broken = yes")
    assert site.do("restart")[0] == 1
    site.write_ini()
    crash()
    eventually(lambda: refused(site.port))
    site.crash.unlink()
    brought_back, seconds = timed(lambda: site.do("ensure"))
    assert brought_back[0] == 0, brought_back
    assert site.get() == site.servers[0]
    assert seconds < 4, "cron did not wait for the pause to be over"

    crash()
    assert site.do("stop") == (0, "shop: stopped")
    site.crash.unlink()
    assert site.do("ensure") == (0, "")
    assert site.nothing_runs()


def refused(port):
    with contextlib.suppress(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port)).close()
        return False
    return True


@scenario
def server_that_cannot_be_started_for_a_moment_is_started_later(paster):
    site = Site(paster)
    site.start()
    data = site.directory / "var/data/shop"
    data.rename(data.with_name("away"))

    os.kill(site.servers[0], signal.SIGKILL)
    eventually(lambda: "the server could not be started: " in site.log.read_text())
    data.with_name("away").rename(data)

    eventually(lambda: quietly(site.get) in site.servers)
    assert site.do("stop") == (0, "shop: stopped")


@scenario
def port_that_the_application_opens_besides_is_not_the_site(paster):
    site = Site(paster, options=f"figures = {free_port()}", **{"hang-timeout": 1})
    served_by(site, "accepting")
    site.start()

    assert quietly(lambda: site.get("/end")) is None  # it serves no more, and lives on
    back = f"did not answer, was started again: {site.address} answers"
    assert site.do("ensure") == (0, f"shop: {back}")

    assert [site.get()] == site.servers


def served_by(site, runner, more=""):
    """Have the ini name a function of the application for the server."""
    chosen = f"paste.server_runner = shop:{runner}"
    site.ini.write_text(site.ini.read_text().replace("use = egg:Paste#http", chosen) + more)


@scenario
def site_that_failed_long_enough_to_refuse_clients_answers_again(paster):
    for server in ("egg:Paste#http", "egg:waitress#main"):
        site = Site(paster, server=server)
        site.start()
        site.crash.touch()
        os.kill(site.servers[0], signal.SIGKILL)
        eventually(lambda: "starting it again in 4 s" in site.log.read_text())  # noqa: B023
        site.crash.unlink()
        eventually(lambda: quietly(site.get) in site.servers)  # noqa: B023
        assert site.do("restart") == (0, f"shop: restarted, {site.address} answers")
        assert [site.get()] == site.servers


@scenario
def server_that_hides_behind_a_title_is_known(paster):
    site = Site(paster, options="title = shop: at your service")
    site.start()
    server = site.get()
    assert not site.servers, "the title leaves its environment alone"

    code, line = site.do("status")
    assert (code, f"running, process {server} since" in line) == (0, True)
    assert site.do("ensure") == (0, "")
    assert site.get() == server
    assert site.do("restart") == (0, f"shop: restarted, {site.address} answers")
    assert site.get() != server
    assert site.do("stop") == (0, "shop: stopped")
    assert quietly(site.get) is None


@scenario
def application_may_have_its_own_site_or_another_restarted(paster):
    site = Site(paster)
    another = Site(paster)

    for target in (site, another):
        words = [sys.executable, "-c", MAIN, str(target.source), "restart"]
        act = {"ACT": json.dumps(words), "PYTHONPATH": f"{site.directory}:{RECIPES}"}
        site.write_settings(environment=act)
        assert site.do("restart")[0] == 0
        before = target.servers
        site.get("/act")
        eventually(lambda: target.servers not in ([], before) and quietly(target.get))  # noqa: B023

    assert site.do("restart") == (0, f"shop: restarted, {site.address} answers")
    time.sleep(1)
    assert [another.get()] == another.servers
    assert site.do("stop") == (0, "shop: stopped")
    assert [another.get()] == another.servers


@scenario
def new_port_is_not_taken_for_a_hanging_server(paster):
    site = Site(paster)
    site.start()
    (before,) = site.servers
    site.write_settings(port=free_port(), **{"start-timeout": 1})

    assert site.do("ensure") == (0, "")
    assert site.get() == before


@scenario
def application_that_takes_its_time_is_not_taken_for_a_hanging_one(paster):
    site = Site(paster, options="thinking = 3")
    site.start()

    assert site.do("status")[0] == 0
    assert site.do("restart") == (0, f"shop: restarted, {site.address} answers")


@scenario
def server_with_sockets_of_its_own_is_started_and_stopped(paster):
    for server in ("egg:Paste#http", "egg:waitress#main"):
        site = Site(paster, server=server, options="green = yes", **{"start-timeout": 10})
        site.start()
        (before,) = site.servers

        assert site.get() == before
        assert site.do("ensure") == (0, "")
        restarted = f"shop: restarted, {site.address} answers{SOCKETS_NOT_HANDED_OVER}"
        assert site.do("restart") == (0, restarted)
        assert site.get() != before
        assert site.do("stop") == (0, "shop: stopped")
        assert site.nothing_runs()


@scenario
def caller_without_standard_files_is_served_as_any(paster):
    site = Site(paster)
    for closed in ("<&-", ">&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-"):
        for action in ("start", "restart", "ensure", "stop"):
            words = ["sh", "-c", f'"$@" {closed}', "sh", sys.executable, "-c", MAIN]
            environment = {**os.environ, "PYTHONPATH": str(RECIPES)}
            done = subprocess.run([*words, str(site.source), action], env=environment, timeout=60)
            assert done.returncode == 0, f"{action} {closed}"
            assert bool(site.servers) == (action != "stop")


@scenario
def full_disk_does_not_keep_a_site_from_being_stopped(paster):
    site = Site(paster)
    run = site.directory / "var/run"
    run.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", run], check=True)
    site.start()
    with contextlib.suppress(OSError), open(run / "full", "wb", buffering=0) as stream:
        while stream.write(b"x" * 4096):
            pass

    assert site.do("stop") == (0, "shop: stopped")
    assert site.nothing_runs()
    assert site.do("ensure") == (0, "")
    assert site.do("status") == (3, "shop: stopped")


@scenario
def read_only_disk_does_not_keep_a_site_from_being_stopped(paster):
    site = Site(paster)
    var = site.directory / "var"
    var.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", var], check=True)
    site.start()
    subprocess.run(["mount", "--bind", "-o", "ro", var, var], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", var], check=True)

    for done in ("stopped", "not running"):
        code, line = site.do("stop")
        output = f"shop: {done}, but cron may start it again: {var}/run/shop.wanted: "
        assert (code, line) == (1, f"{output}Read-only file system")
        assert site.nothing_runs()


@scenario
def killed_supervisor_takes_its_server_along(paster):
    site = Site(paster)
    site.start()

    os.kill(site.supervisors[0], signal.SIGKILL)

    eventually(site.nothing_runs)
    assert site.do("status") == (1, f"shop: dead, though it was started, see {site.log}")
    site.start()


@scenario
def orphan_is_replaced_by_start_and_ended_by_stop(paster):
    site = Site(paster, options="stubborn = yes", **{"stop-timeout": 1})
    for action in ("start", "stop"):
        assert site.do("restart")[0] == 0
        os.kill(site.supervisors[0], signal.SIGKILL)
        eventually(lambda: not site.supervisors)
        (orphan,) = site.servers

        assert site.do(action)[0] == 0
        assert orphan not in site.servers

    assert site.nothing_runs()


@scenario
def taken_port_is_named(paster):
    site = Site(paster)
    with socket.create_server(("127.0.0.1", site.port)):
        code, line = site.do("start")

    assert code == 1
    assert line.startswith(f"shop: port {site.port} is taken by process {os.getpid()} (")
    assert site.nothing_runs()


@scenario
def broken_application_says_why(paster):
    site = Site(paster, options="broken = yes")
    seen = f"see {site.log}"

    why = "RuntimeError: the database is gone"
    assert site.do("start") == (1, f"shop: did not start: {why}, {seen}")
    assert site.nothing_runs()

    site.ini.write_text("no section\n")
    code, line = site.do("start")
    assert code == 1
    assert line.startswith("shop: did not start: ")
    assert "MissingSectionHeaderError" in line or "contains no section headers" in line

    site.ini.unlink()
    missing = f"shop: cannot read {site.ini}: run bin/buildout"
    assert site.do("start") == (6, missing)
    site.write_settings(paster="/missing/paster")
    missing = "shop: cannot run /missing/paster: run bin/buildout"
    assert site.do("restart") == (5, missing)


@scenario
def start_waits_for_a_slow_application(paster):
    site = Site(paster, options="delay = 3")
    start, seconds = timed(lambda: site.do("start"))
    assert start == (0, f"shop: started, {site.address} answers")
    assert seconds > 3

    site.do("stop")
    site.write_settings(**{"start-timeout": 1})
    line = f"shop: did not start: {site.address} did not answer in 1 s, see {site.log}"
    assert site.do("start") == (1, line)
    assert site.nothing_runs()


@scenario
def server_that_ignores_signals_is_gone_in_time(paster):
    site = Site(paster, options="stubborn = yes", **{"stop-timeout": 1})
    site.start()

    stop, seconds = timed(lambda: site.do("stop"))

    assert stop == (0, "shop: stopped")
    assert seconds < 2.5  # a second more than allowed, and the command's own start
    assert site.nothing_runs()


def requests_in_flight_are_finished(paster, server):
    site = Site(paster, server=server)
    site.start()
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(quietly(lambda: site.get("/slow"))))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.7)
    (pid,) = site.servers

    assert site.do("restart")[0] == 0

    for thread in threads:
        thread.join()
    assert answers == [pid] * 6
    assert site.get() != pid


@scenario
def paste_finishes_requests_in_flight(paster):
    requests_in_flight_are_finished(paster, "egg:Paste#http")


@scenario
def waitress_finishes_requests_in_flight(paster):
    requests_in_flight_are_finished(paster, "egg:waitress#main")


CLIENTS = [*[get("/")] * 4, *[get_keep_alive("/")] * 2, get("/slow")]


def nobody_notices(paster, server):
    """Five restarts, and three that cannot be."""
    site = Site(paster, server=server, **{"start-timeout": 5})
    site.start()
    went_on = "shop: was not restarted, the old server goes on: "
    with expect_no_failures(site.address, CLIENTS, f"5 restarts and 3 failed ones of {server}"):
        for _ in range(5):
            (before,) = site.servers
            assert site.do("restart") == (0, f"shop: restarted, {site.address} answers")
            (after,) = site.servers
            assert after != before

        for options, why in {
            "broken = yes": "RuntimeError: the database is gone",
            "failing = yes": "/ answers 500, before 200",
            "delay = 30": f"{site.address} did not answer in 5 s",
        }.items():
            site.write_ini(options)
            output = f"{went_on}{why}, see {site.log}"
            assert site.do("restart") == (1, output)
            seen = site.servers, site.supervisors
            assert (seen[0], len(seen[1])) == ([after], 1), (seen, after, options)
            site.write_ini()

    assert site.do("stop") == (0, "shop: stopped")
    assert site.nothing_runs()


@scenario
def errors_that_a_client_gets_are_reported(paster):
    site = Site(paster, options="failing = yes")
    answered = f"{site.address} answers 500, see bin/shop log"

    assert site.do("start") == (0, f"shop: started, {answered}")
    assert site.do("start") == (0, f"shop: already running, {answered}")
    code, line = site.do("status")
    assert (code, line.endswith(f", {answered}")) == (0, True)
    assert site.do("restart") == (0, f"shop: restarted, {answered}")


@scenario
def nobody_notices_that_paste_is_restarted(paster):
    nobody_notices(paster, "egg:Paste#http")


@scenario
def nobody_notices_that_waitress_is_restarted(paster):
    nobody_notices(paster, "egg:waitress#main")


@scenario
def nobody_notices_that_a_server_of_the_standard_library_is_restarted(paster):
    site = Site(paster)
    site.ini.write_text(site.ini.read_text() + "use_threadpool = false\n")
    site.start()
    with expect_no_failures(site.address, [get("/")] * 4, "3 restarts without a pool of threads"):
        for _ in range(3):
            assert site.do("restart") == (0, f"shop: restarted, {site.address} answers")


@scenario
def server_that_waits_in_accept_is_started_and_restarted(paster):
    site = Site(paster)
    served_by(site, "accepting")

    site.start()
    (before,) = site.servers
    assert site.do("restart") == (0, f"shop: restarted, {site.address} answers")
    (after,) = site.servers
    assert (after != before, len(site.supervisors)) == (True, 1)

    served_by(site, "accepting", "certificate = none\n")
    output = "shop: did not start, and the old server has ended: RuntimeError: no certificate"
    assert site.do("restart") == (1, f"{output}, see {site.log}")
    assert site.nothing_runs()


@scenario
def address_and_all_addresses_are_changed_by_stop_and_start(paster):
    site = Site(paster)
    site.start()
    for host in ("0.0.0.0", "127.0.0.1"):
        site.ini.write_text(re.sub(r"host = .*", f"host = {host}", site.ini.read_text()))
        site.write_settings(host=host)

        restarted = f"shop: restarted, http://{host}:{site.port}/ answers{SOCKETS_NOT_HANDED_OVER}"
        assert site.do("restart") == (0, restarted)

        assert [site.get()] == site.servers


@scenario
def change_of_the_port_has_both_for_a_while(paster):
    site = Site(paster)
    site.start()
    (before,) = site.servers
    lasting = []
    request = threading.Thread(target=lambda: lasting.append(site.get("/slow")))
    request.start()
    time.sleep(0.5)

    site.port = free_port()
    site.write_ini()
    site.write_settings(port=site.port)
    assert site.do("restart") == (0, f"shop: restarted, {site.address} answers")

    request.join()
    assert lasting == [before]
    assert [site.get()] == site.servers


@scenario
def server_at_another_port_is_refused_if_it_answers_worse(paster):
    site = Site(paster)
    site.start()
    before = site.servers, site.port

    site.port = free_port()
    site.write_ini("failing = yes")
    site.write_settings(port=site.port)
    code, line = site.do("restart")

    assert (code, "/ answers 500, before 200" in line) == (1, True), line
    site.port = before[1]
    assert (site.servers, [site.get()]) == (before[0], before[0])


def can_be_restarted_by_stop_and_start(site):
    site.start()
    (before,) = site.servers
    assert site.do("restart") == (
        0,
        f"shop: restarted, {site.address} answers{SOCKETS_NOT_HANDED_OVER}",
    )
    (after,) = site.servers
    assert (after != before, len(site.supervisors)) == (True, 1)
    assert site.do("stop") == (0, "shop: stopped")
    assert site.nothing_runs()


@scenario
def server_of_another_address_binds_it_by_itself(paster):
    site = Site(paster)
    site.ini.write_text(site.ini.read_text().replace("127.0.0.1", "0.0.0.0"))

    can_be_restarted_by_stop_and_start(site)


@scenario
def paster_that_is_no_python_script_runs_as_it_is(paster):
    site = Site(paster)
    script = site.directory / "paster"
    script.write_text(f'#!/bin/sh\nexec {paster} "$@"\n')
    script.chmod(0o755)
    site.write_settings(paster=str(script))

    can_be_restarted_by_stop_and_start(site)


@scenario
def restart_that_is_killed_leaves_a_site_or_what_brings_it_back(paster):
    """Kill the command, a supervisor or a server at a random moment."""
    site, dice, served = Site(paster), random.Random(1), 0
    site.start()
    for _ in range(KILLS):
        restart = site.begin("restart")
        time.sleep(dice.uniform(0.1, 2.5))
        victim = dice.choice([restart.pid, *site.supervisors, *site.servers])
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        restart.communicate()
        eventually(lambda: len(site.supervisors) <= 1)
        eventually(lambda: len(site.servers) <= 1)
        served += quietly(site.get) is not None
        assert site.do("ensure")[0] == 0
        assert [site.get()] == site.servers
        assert len(site.supervisors) == 1
    print(
        f"{served} of {KILLS} restarts cut short left the site served; cron brought the rest back"
    )


@scenario
def requests_do_not_outlast_the_time_to_stop(paster):
    site = Site(paster, **{"stop-timeout": 1})
    site.start()
    lost = []
    request = threading.Thread(target=lambda: lost.append(quietly(lambda: site.get("/minute"))))
    request.start()
    time.sleep(0.3)

    stop, seconds = timed(lambda: site.do("stop"))
    request.join()

    assert (stop, lost) == ((0, "shop: stopped"), [None])
    assert seconds < 2.5
    print(f"stop with a request of 60 s in flight and 1 s to stop: {seconds:.1f} s")


@scenario
def ensure_brings_back_what_died_or_hangs(paster):
    site = Site(paster, **{"hang-timeout": 1, "hang-tries": 2, "start-timeout": 20})
    assert site.do("ensure") == (0, "")
    site.start()
    assert site.do("ensure") == (0, "")

    os.kill(site.supervisors[0], signal.SIGKILL)
    eventually(site.nothing_runs)
    line = f"was started again: {site.address} answers"
    assert site.do("ensure") == (0, f"shop: was not running, {line}")

    (hung,) = site.servers
    site.hang.touch()
    silent = f", {site.address} does not answer"
    code, output = site.do("status")
    assert (code, output.endswith(silent)) == (4, True)
    ensure = site.begin("ensure")
    eventually(lambda: hung not in site.servers)
    site.hang.unlink()
    assert ensure.communicate() == (f"shop: did not answer, {line}\n", "")

    assert site.do("stop")[0] == 0
    assert site.do("ensure") == (0, "")
    assert site.nothing_runs()


@scenario
def files_in_run_are_never_believed(paster):
    site = Site(paster)
    run = Path(site.settings["run"])
    run.mkdir(parents=True)
    victim = site.directory / "victim"
    victim.write_text("precious")
    (run / "shop.wanted").symlink_to(victim)
    (run / "shop.lock").write_text("-1")
    (run / "shop.pid").write_text("-1")

    site.start()
    shutil.rmtree(run)
    assert site.do("status")[0] == 0
    assert site.do("stop") == (0, "shop: stopped")

    (run / "shop.lock").unlink()
    (run / "shop.lock").symlink_to(victim)
    refused = f"shop: {run}/shop.lock is not a regular file, as it has to be: {LOOK_FIRST}"
    assert site.do("start") == (1, refused)
    (run / "shop.lock").unlink()
    site.log.unlink()
    site.log.symlink_to(victim)
    refused = f"shop: {site.log} is not a regular file, as it has to be: {LOOK_FIRST}"
    assert site.do("start") == (1, refused)
    assert victim.read_text() == "precious"
    assert site.nothing_runs()


def ignore_and_open_much():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Not every machine lets even root raise it: then its own limit has to do.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1048576))


@scenario
def caller_hands_nothing_on(paster):
    """A background shell ignores SIGINT; a million files may be open."""
    site = Site(paster)
    os.umask(0o077)
    os.environ["SECRET"] = "x"

    start, seconds = timed(lambda: site.do("start", preexec_fn=ignore_and_open_much))

    assert start[0] == 0
    assert seconds < 5
    (server,) = site.servers
    process = Path(f"/proc/{server}")
    assert resource.prlimit(server, resource.RLIMIT_NOFILE) == (4096, 4096)
    assert b"SECRET" not in (process / "environ").read_bytes()
    assert os.readlink(process / "cwd") == site.settings["data"]
    assert "\nUmask:\t0022\n" in (process / "status").read_text()
    stop, seconds = timed(lambda: site.do("stop"))
    assert stop == (0, "shop: stopped")
    assert seconds < 3, "SIGINT was not ignored"
    assert "did not stop" not in site.log.read_text()


@scenario
def log_has_its_lines_when_they_happen_and_can_be_truncated(paster):
    site = Site(paster)
    site.start()
    output = site.log.read_text()
    assert output.index("started the server") < output.index("Starting server in PID")
    assert "pkg_resources" not in output

    os.truncate(site.log, 0)
    site.do("stop")

    assert site.log.read_bytes()[:2] == b"20", "no hole where the old text was"


@scenario
def foreground_server_is_left_alone(paster):
    site = Site(paster)
    foreground = site.begin("fg")
    eventually(lambda: quietly(site.get))

    (pid,) = site.servers
    assert pid == foreground.pid
    assert site.do("start") == (1, f"shop: runs in the foreground, process {pid}")
    assert site.do("fg") == (1, f"shop: already running, process {pid}")
    assert "in the foreground since" in site.do("status")[1]
    foreground.send_signal(signal.SIGINT)
    foreground.communicate()
    with socket.create_server(("127.0.0.1", site.port)):
        assert f"port {site.port} is taken by" in site.do("fg")[1]


@pytest.fixture(scope="session")
def paster(tmp_path_factory):
    if given := os.environ.get("PYLONYARD_TEST_PASTER"):
        return given
    directory = tmp_path_factory.mktemp("paster")
    venv.create(directory, with_pip=True)
    pip = [directory / "bin/python", "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, *PINS, "setuptools<82"], check=True)
    return str(directory / "bin/paster")


@pytest.fixture(scope="session")
def unshare():
    require_namespace(UNSHARE)
    return UNSHARE


@pytest.fixture
def sandboxes():
    """A directory that, unlike ``tmp_path``, every user may enter."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield directory


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name, paster, unshare, sandboxes):
    folders = (RECIPES, RECIPES.parent / "tests", RECIPES.parent / "benchmarks")
    path = os.pathsep.join(map(str, folders))
    environment = {**os.environ, "PYTHONPATH": path, "TMPDIR": sandboxes}
    done = subprocess.run(
        [*unshare, sys.executable, __file__, name, paster],
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    print(done.stdout, end="")
    assert done.returncode == 0, done.stdout + done.stderr


if __name__ == "__main__":
    SCENARIOS[sys.argv[1]](sys.argv[2])
