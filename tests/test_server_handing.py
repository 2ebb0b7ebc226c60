import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from pylonyard.server import handing
from pylonyard.server.processes import PROC

RECIPES = Path(handing.__file__).resolve().parents[2]

SUPERVISOR = """
import signal, socket, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGIO])
from pylonyard.server.handing import SIGNAL, Offer
offer = Offer([socket.create_server(("127.0.0.1", 0))])
print(offer.sockets[0].getsockname()[1], flush=True)
while True:
    signal.sigwaitinfo([SIGNAL])
    offer.hand_out()
    print(offer.taken, flush=True)
"""


@pytest.fixture
def supervisor():
    words = [sys.executable, "-c", SUPERVISOR]
    environment = {**os.environ, "PYTHONPATH": str(RECIPES)}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as process:
        yield process
        process.kill()


@pytest.mark.system
def test_sockets_outlast_the_process_that_had_them(supervisor):
    port = int(supervisor.stdout.readline())

    (one,) = handing.received(supervisor.pid)

    assert supervisor.stdout.readline() == "True\n"
    supervisor.kill()
    supervisor.wait()
    with one, socket.create_connection(("127.0.0.1", port)):
        one.accept()[0].close()
        assert not os.get_inheritable(one.fileno())


def test_process_without_any_hands_out_none():
    assert handing.received(os.getpid()) == []
    assert handing.received(2**22) == []


def test_offer_is_found_among_the_open_files():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGIO])
    try:
        offer = handing.Offer([])
        assert list(handing.doors(os.getpid())) == ["\0" + offer.door.getsockname()[1:].decode()]
        offer.hand_out()
        assert not offer.taken
        offer.door.close()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_other_sockets_are_no_doors(tmp_path):
    (tmp_path / "net").mkdir()
    lines = (PROC / "net" / "unix").read_text().splitlines()[:1]
    lines += ["0: 00000002 0 00010000 0001 01 7 /run/x", "0: 00000002 0 0 0001 01 8 @a", "0: 1"]
    (tmp_path / "net" / "unix").write_text("\n".join(lines))
    descriptors = tmp_path / "9" / "fd"
    descriptors.mkdir(parents=True)
    for inode in (7, 8):
        (descriptors / str(inode)).symlink_to(f"socket:[{inode}]")

    assert list(handing.doors(9, tmp_path)) == []
