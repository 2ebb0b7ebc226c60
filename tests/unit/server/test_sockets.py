import socket

import ports
import pytest
from pylonyard.server import sockets
from pylonyard.server.settings import parse
from pylonyard.system.errors import ServerError

from tests.unit.server.test_settings import SOURCE, VALUES


def site(port, host="127.0.0.1"):
    return parse({**VALUES, "host": host, "port": port}, SOURCE)


@pytest.fixture
def free_port():
    return ports.free_port()


def connects(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except ConnectionRefusedError:
        return False
    return True


def test_sockets_are_bound_and_do_not_listen(free_port):
    (one,) = sockets.bind_all(site(free_port))

    with one:
        assert one.getsockname() == ("127.0.0.1", free_port)
        assert not connects(free_port)
        assert list(sockets.describe([one])) == [f"{one.fileno()}/127.0.0.1/{free_port}"]


def test_refused_clients_are_let_in_again(free_port):
    held = sockets.bind_all(site(free_port))
    sockets.refuse_connections(held)  # it does not listen: nothing to do
    held[0].listen()
    assert connects(free_port)

    sockets.refuse_connections(held)
    assert not connects(free_port)

    sockets.refuse_connections(held)  # once more, as after each failure of a server
    held[0].listen()
    assert connects(free_port)
    with socket.create_connection(("127.0.0.1", free_port), timeout=5) as client:
        for _ in range(2):
            server, _ = held[0].accept()
            with server:
                server.sendall(b"hello")
        assert client.recv(5) == b"hello"
    sockets.close(held)
    assert (held, connects(free_port)) == ([], False)


def test_taken_port_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ServerError) as caught:
            sockets.bind_all(site(port))

    why = "Address already in use"
    assert str(caught.value) == f"cannot listen on port {port} of 127.0.0.1: {why}"


def test_sockets_fit_the_address_that_they_have(free_port):
    held = sockets.bind_all(site(free_port))

    assert sockets.match_settings(held, site(free_port))
    assert not sockets.match_settings(held, site(free_port - 1))
    assert not sockets.match_settings(held, site(free_port, "127.0.0.2"))
    sockets.close(held)
    assert not sockets.match_settings(held, site(free_port))


def test_every_address_of_a_name_is_bound(free_port):
    held = sockets.bind_all(site(free_port, "localhost"))

    assert ("127.0.0.1", free_port) in [one.getsockname()[:2] for one in held]
    assert sockets.match_settings(held, site(free_port, "localhost"))
    sockets.close(held)
