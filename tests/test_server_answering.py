import socket
import threading

import pytest
from pylonyard.server.answering import answers, reachable


@pytest.fixture
def talk():
    """Return a port whose first caller is told something."""
    servers = []

    def serve(reply):
        server = socket.create_server(("127.0.0.1", 0))

        def run():
            caller, _ = server.accept()
            with caller:
                heard.append(caller.recv(1000))
                caller.sendall(reply)
                if not reply:
                    done.wait()

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


def test_every_address_is_asked_at_home():
    assert reachable("0.0.0.0") == "127.0.0.1"
    assert reachable("::") == "::1"
    assert reachable("10.0.0.1") == "10.0.0.1"
    assert reachable("localhost") == "localhost"
