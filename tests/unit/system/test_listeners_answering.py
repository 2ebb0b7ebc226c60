import contextlib
import itertools
import socket
import threading
import time

import pytest
from pylonyard.activation.host import visits
from pylonyard.system.errors import ActivationError
from pylonyard.system.listeners import answers, reachable


@pytest.fixture
def talk():
    """Return a port whose first caller is told something."""
    servers = []

    def serve(reply, then=()):
        server = socket.create_server(("127.0.0.1", 0))

        def run():
            caller, _ = server.accept()
            with caller:
                heard.append(caller.recv(1000))
                caller.sendall(reply)
                if not reply:
                    done.wait()
                with contextlib.suppress(OSError):
                    for more in then:
                        caller.sendall(more)

        thread = threading.Thread(target=run)
        thread.start()
        servers.append((server, thread))
        return server.getsockname()[1]

    heard, done = [], threading.Event()
    serve.heard = heard
    yield serve
    done.set()
    for server, thread in servers:
        thread.join()
        server.close()


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\n", True),
        (b"HTTP/1.1 500 Broken\r\n\r\n", True),
        (b"SSH-2.0-OpenSSH\r\n", False),
        (b"", False),
    ],
)
def test_any_status_is_an_answer(talk, reply, expected):
    port = talk(reply)

    assert answers("127.0.0.1", port, "/up", 0.1) is expected

    assert talk.heard[0].startswith(b"GET /up HTTP/1.1\r\nHost: 127.0.0.1:")


def test_nobody_answers():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    assert answers("127.0.0.1", port, "/", 0.1) is False


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def slowly(text):
    """Yield byte after byte: each in time, all of them in none."""
    for byte in text:
        time.sleep(0.05)
        yield bytes([byte])


@pytest.mark.parametrize(
    "endless",
    [
        lambda: slowly(b"HTTP/1.1 200 OK" + b" " * 1000),
        lambda: itertools.chain([b"HTTP/1.1 200 OK\r\n"], slowly(b"X-Name: value\r\n" * 100)),
        lambda: itertools.repeat(CONTINUE),
    ],
    ids=["status line", "header", "answers that announce another"],
)
def test_answer_that_trickles_is_waited_for_no_longer_than_said(talk, endless):
    began = time.monotonic()

    assert answers("127.0.0.1", talk(CONTINUE, endless()), "/", 0.3) is False
    port = talk(CONTINUE, endless())
    with pytest.raises(ActivationError) as caught:
        visits.request("127.0.0.1", port, "shop.example.org", timeout=0.3)

    assert str(caught.value) == f"127.0.0.1:{port} does not answer: timed out"
    assert time.monotonic() - began < 5


def test_every_address_is_asked_at_home():
    assert reachable("0.0.0.0") == "127.0.0.1"
    assert reachable("::") == "::1"
    assert reachable("10.0.0.1") == "10.0.0.1"
    assert reachable("localhost") == "localhost"
