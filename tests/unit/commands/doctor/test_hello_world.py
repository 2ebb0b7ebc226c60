"""The Hello World, if the account that serves it is hostile."""

import dataclasses
import os
import signal
import socket
import sys
import time
from pathlib import Path

import pytest
from ports import free_port
from pylonyard.commands.doctor import hello_world

from tests.unit.commands.doctor.test_command_checks import laid, place, subject
from tests.unit.commands.doctor.test_permissions import result_of

__all__ = ["place"]  # a fixture

FAULT = "a Hello World fails as well: "

SERVER = """\
import http.server, re
port = int(re.search(r"(?m)^port = (\\d+)$", open("../hello.ini").read())[1])
class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", port), Hello).serve_forever()
"""

NESTED = """\
import os
for _ in range(1100):
    os.mkdir("x")
    os.chdir("x")
print("made them")
raise SystemExit(1)
"""


@pytest.fixture
def failing(place):
    """Return a function that gives a site which fails, and whose paster is a script."""

    def site(script, interpreter="/bin/sh"):
        paster = place / "paster"
        paster.write_text(f"#!{interpreter}\n{script}")
        paster.chmod(0o755)
        # An interpreter in root's home is out of the reach of others.
        account = "nobody" if os.geteuid() == 0 and interpreter == "/bin/sh" else "root"
        found = subject(place, user=account)
        settings = dataclasses.replace(found.settings, paster=paster)
        return dataclasses.replace(found, settings=settings, answers={"visit": False})

    return site


def left(place):
    """Return the folder of the Hello World, which its server wrote down, if it is there still."""
    folder = Path((place / "data/where").read_text().strip()).parent
    assert folder.name.startswith("hello-")
    return folder if folder.exists() else None


@pytest.fixture
def where(place):
    (place / "data").chmod(0o777)
    return f"pwd >{place}/data/where\n"


WORKS = "a Hello World works here: "
APPLICATION = (True, f"{WORKS}the fault is in the application, or its data")
STOPPED = (True, f"{WORKS}the environment is fine; see the other lines")


def test_hello_world_that_works_blames_an_application_that_is_there(failing):
    site = failing(SERVER, sys.executable)

    with socket.create_server(("127.0.0.1", 0)) as server:
        settings = dataclasses.replace(site.settings, port=server.getsockname()[1])
        assert (
            result_of(hello_world.hello(dataclasses.replace(site, settings=settings)))
            == APPLICATION
        )


def test_hello_world_that_works_does_not_blame_an_application_that_is_stopped(failing):
    site = failing(SERVER, sys.executable)

    for host in ("127.0.0.1", "no.such.host.invalid"):
        settings = dataclasses.replace(site.settings, host=host, port=free_port())
        assert result_of(hello_world.hello(dataclasses.replace(site, settings=settings))) == STOPPED


def test_hello_world_blames_no_application_of_an_apache_that_does_not_run(place, monkeypatch):
    monkeypatch.setattr(hello_world, "_failure", lambda subject, folder: "")
    journal, conf = laid(place, ""), place / "current/shop/httpd.conf"

    with socket.create_server(("127.0.0.1", 0)) as server:
        there, gone = server.getsockname()[1], free_port()
        for port, expected in ((there, APPLICATION), (gone, STOPPED)):
            conf.write_text(f"Listen 127.0.0.1:{port} http\n")
            private = subject(place, mode="mod_wsgi")
            public = subject(place, journal, mode="mod_wsgi", listen_port=port)
            for site in (private, public):
                site.answers["visit"] = False
                assert result_of(hello_world.hello(site)) == expected


def test_hello_world_that_cannot_start_is_red(failing):
    site = failing("")
    site.settings.paster.unlink()

    assert result_of(hello_world.hello(site)) == (
        False,
        f"{FAULT}setpriv: failed to execute {site.settings.paster}: No such file or directory",
    )


def test_no_more_than_the_end_of_a_log_is_read(place, failing, where):
    site = failing(where + "truncate -s 100G error.log; echo the end >>error.log; exit 1")

    assert result_of(hello_world.hello(site)) == (False, f"{FAULT}the end")
    assert left(place) is None


@pytest.mark.parametrize(
    "planted",
    ["ln -s /etc/hostname error.log", "mkfifo error.log", "echo told >a; ln a error.log"],
)
def test_log_that_is_none_is_not_read(failing, planted):
    assert result_of(hello_world.hello(failing(f"echo ours; {planted}; exit 1"))) == (
        False,
        f"{FAULT}ours",
    )


def test_folders_in_folders_are_removed(place, failing, where):
    (place / "nested.py").write_text(NESTED)
    site = failing(f"{where}exec {sys.executable} {place}/nested.py")
    site = dataclasses.replace(site, site=dataclasses.replace(site.site, user="root"))

    assert result_of(hello_world.hello(site)) == (False, f"{FAULT}made them")
    assert left(place) is None


def ended_by(number, site, pid_file):
    """Send a signal to a doctor that waits for its Hello World; return how it ends."""
    doctor = os.fork()
    if doctor == 0:
        try:
            list(hello_world.hello(site))
        except SystemExit as leaving:
            os._exit(leaving.code)
        finally:
            os._exit(0)
    wait_until(lambda: pid_file.exists() and pid_file.read_text().strip())
    os.kill(doctor, number)
    return os.waitstatus_to_exitcode(os.waitpid(doctor, 0)[1])


def wait_until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_doctor_that_is_ended_leaves_no_server(place, failing, where, number):
    pid_file = place / "data/pid"
    site = failing(f"{where}echo $$ >{pid_file}\nexec sleep 60")

    code = ended_by(number, site, pid_file)

    server = Path("/proc", pid_file.read_text().strip())
    wait_until(lambda: not server.exists())
    if number == signal.SIGKILL:
        hello_world._remove(left(place))
    else:
        assert code == 128 + number
    assert left(place) is None
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_signal_that_is_ignored_stays_so(failing):
    site = failing("kill -HUP $PPID; echo sent; exit 1")
    site = dataclasses.replace(site, site=dataclasses.replace(site.site, user="root"))
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert result_of(hello_world.hello(site)) == (False, f"{FAULT}sent")
    finally:
        signal.signal(signal.SIGHUP, before)
