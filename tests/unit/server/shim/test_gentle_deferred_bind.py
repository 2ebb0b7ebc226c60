"""Real servers of the standard library, each in a process of its own, given a socket."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from pylonyard.server.shim import gentle

FOLDER = os.path.dirname(gentle.__file__)

SERVER = """
import os, sys
sys.path.insert(0, sys.argv[1])
import gentle
gentle.prepare(os.environ)
from wsgiref.simple_server import make_server
def application(environ, start_response):
    start_response("200 OK", [])
    return [environ["SERVER_PORT"].encode()]
make_server("127.0.0.1", int(sys.argv[2]), application).serve_forever()
"""

STRANGER = """
import os, socket, sys
sys.path.insert(0, sys.argv[1])
import gentle
gentle.prepare(os.environ)
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind((sys.argv[3], int(sys.argv[2])))
server.listen()
server.setblocking(True)
server.accept()[0].sendall(b"hello")
"""


STRANGER_OF_TWO = """
import os, socket, sys, time
sys.path.insert(0, sys.argv[1])
import gentle
gentle.prepare(os.environ)
for host in ("127.0.0.1", sys.argv[3]):
    socket.socket().bind((host, int(sys.argv[2])))
time.sleep(60)
"""


@pytest.fixture
def start():
    """Return a function that starts a program with a bound socket; it gives our end."""
    started = []

    def bound(host, port):
        held = socket.socket()
        started.append(held)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((host, port))
        return held

    def begin(program, *words, more=()):
        held = bound("127.0.0.1", 0)
        port = held.getsockname()[1]
        every = [held, *(bound(host, port) for host in more)]
        ours, theirs = socket.socketpair()
        places = [(one.fileno(), *one.getsockname()) for one in every]
        variables = {
            gentle.SOCKETS: ",".join("{}/{}/{}".format(*place) for place in places),
            gentle.CONTROL: str(theirs.fileno()),
        }
        process = subprocess.Popen(
            [sys.executable, "-c", program, FOLDER, str(port), *words],
            env={**os.environ, **variables},
            pass_fds=[*(one.fileno() for one in every), theirs.fileno()],
        )
        theirs.close()
        ours.settimeout(30)
        words_of_it = ours.makefile("r")
        started.extend([process, words_of_it, ours])
        return held, ours, words_of_it

    yield begin
    for each in started:
        if isinstance(each, subprocess.Popen):
            each.kill()
            each.wait()
        else:
            each.close()


def words_from(words):
    return words.readline().split()


@pytest.mark.system
def page(port):
    """Return what a server answers that is bound, and soon listens."""
    for _ in range(300):
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/").read()
        except urllib.error.URLError:
            time.sleep(0.1)
    raise AssertionError("no answer")


@pytest.mark.system
def test_server_listens_at_a_temporary_port_until_it_is_permitted_to_serve(start):
    held, ours, words = start(SERVER)
    port = held.getsockname()[1]

    at, number, host, apart = words_from(words)

    assert (at, number, host) == ("at", str(held.fileno()), "127.0.0.1")
    assert page(apart) == str(port).encode()
    held.listen()
    held.setblocking(False)
    ours.send(b"go\n")
    assert words_from(words) == ["there"]
    assert page(port) == str(port).encode()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{apart}/")


def test_unknown_server_waits_for_its_socket(start):
    held, ours, words = start(STRANGER, "127.0.0.1")

    assert words_from(words) == ["waits", str(held.fileno())]

    held.listen()
    held.setblocking(False)
    ours.send(b"go\n")
    assert words_from(words) == ["there"]
    with socket.create_connection(held.getsockname(), timeout=30) as client:
        assert client.recv(9) == b"hello"


def test_unknown_server_of_two_addresses_is_given_the_word_once(start):
    _, ours, words = start(STRANGER_OF_TWO, "127.0.0.2", more=["127.0.0.2"])

    assert words_from(words)[0] == "waits"

    ours.send(b"go\n")
    assert [words_from(words)[0] for _ in range(3)] == ["there", "waits", "there"]


def test_server_of_another_address_waits_for_the_port(start):
    held, ours, words = start(STRANGER, "127.0.0.2")
    port = held.getsockname()[1]

    assert words_from(words) == ["apart"]

    held.close()
    ours.send(b"go\n")
    assert words_from(words) == ["there"]
    for _ in range(300):
        with contextlib.suppress(ConnectionRefusedError):  # it is bound, and soon listens
            with socket.create_connection(("127.0.0.2", port), timeout=30) as client:
                assert client.recv(9) == b"hello"
            return
        time.sleep(0.1)
    raise AssertionError("it does not listen")


def test_nothing_is_altered_without_sockets():
    before = socket.socket.bind

    gentle.prepare({})

    assert socket.socket.bind is before
