import os
import socket
from ipaddress import ip_address

import pytest
from pylonyard.system.errors import ServerError
from pylonyard.system.listeners import Listener, addresses, decode, holders, inodes, overlaps


@pytest.mark.parametrize(
    ("digits", "address"),
    [
        ("0100007F", "127.0.0.1"),
        ("00000000", "0.0.0.0"),
        ("00000000000000000000000001000000", "::1"),
        ("0000000000000000FFFF00000100007F", "127.0.0.1"),
    ],
)
def test_addresses_of_the_kernel_are_read(digits, address):
    assert decode(digits) == ip_address(address)


@pytest.mark.parametrize(
    ("listening", "wanted", "expected"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("0.0.0.0", "127.0.0.1", True),
        ("::", "127.0.0.1", True),
        ("127.0.0.1", "0.0.0.0", True),
        ("127.0.0.2", "127.0.0.1", False),
    ],
)
def test_address_is_taken_by_its_like(listening, wanted, expected):
    listener = Listener(ip_address(listening), 8080, 1)

    assert overlaps(listener, {ip_address(wanted)}, 8080) is expected
    assert overlaps(listener, {ip_address(wanted)}, 8081) is False


def test_holder_of_a_socket_is_found():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert holders(inodes("127.0.0.1", port)) == [os.getpid()]
        assert holders(inodes("127.0.0.1", port), []) == []
    assert inodes("127.0.0.1", port) == set()


def test_host_that_is_none_is_refused():
    with pytest.raises(ServerError) as caught:
        addresses("no host")

    assert str(caught.value).startswith("host no host: ")
    assert caught.value.code == 6
