import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from namespaces import require_namespace
from pylonyard.server import sockets
from pylonyard.system.processes import PROC

RECIPES = Path(sockets.__file__).resolve().parents[2]

SUPERVISOR = """
import signal, socket, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGIO])
from pylonyard.server.sockets import REQUEST_SIGNAL, SocketHandover
from pathlib import Path
folder = Path(sys.argv[1]) if sys.argv[1:] else None
handover = SocketHandover([socket.create_server(("127.0.0.1", 0))], folder)
print(handover.sockets[0].getsockname()[1], flush=True)
while True:
    signal.sigwaitinfo([REQUEST_SIGNAL])
    handover.serve_requests()
    print(handover.was_taken, flush=True)
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

    (one,) = sockets.receive_from(supervisor.pid)

    assert supervisor.stdout.readline() == "True\n"
    supervisor.kill()
    supervisor.wait()
    with one, socket.create_connection(("127.0.0.1", port)):
        one.accept()[0].close()
        assert not os.get_inheritable(one.fileno())


@pytest.fixture
def own_signals():
    """Keep the signals of an handover for ourselves."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGIO])
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_offer_is_made_in_a_folder_of_the_accounts_own(tmp_path, own_signals):
    folder = tmp_path / ("long" * 30) / "shop.handover"
    folder.parent.mkdir()

    handover = sockets.SocketHandover([], folder)

    (made,) = folder.iterdir()
    assert (made.name, stat.S_ISSOCK(made.stat().st_mode)) == (str(os.getpid()), True)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(sockets.abstract_sockets(os.getpid())) == []
    handover.close()
    assert list(folder.iterdir()) == []


def test_offer_forgets_those_of_processes_that_ended_and_nothing_else(tmp_path, own_signals):
    folder = tmp_path / "shop.handover"
    folder.mkdir(mode=0o700)
    for name in (str(2**22), str(os.getppid()), "note"):
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(folder / name))
    (folder / str(2**22 + 1)).write_text("no socket")

    handover = sockets.SocketHandover([], folder)

    left = {str(os.getpid()), str(os.getppid()), "note", str(2**22 + 1)}
    assert {path.name for path in folder.iterdir()} == left
    handover.close()


@pytest.mark.parametrize("mode", [0o755, 0o710])
def test_a_folder_that_others_can_enter_is_not_used(tmp_path, own_signals, mode):
    folder = tmp_path / "shop.handover"
    folder.mkdir()
    folder.chmod(mode)

    handover = sockets.SocketHandover([], folder)

    assert list(folder.iterdir()) == []
    assert len(list(sockets.abstract_sockets(os.getpid()))) == 1
    handover.close()


ATTACK = """
import socket, sys, time
end = time.monotonic() + 20
while time.monotonic() < end:
    for line in open("/proc/net/unix", errors="replace"):
        name = line.split()[-1]
        if name.startswith("@") or name.endswith("/" + sys.argv[1]):
            with socket.socket(socket.AF_UNIX) as one:
                one.setblocking(False)
                try:
                    one.connect(name.replace("@", chr(0), 1))
                except OSError:
                    pass
"""


OWN_NETWORK = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
"""Abstract sockets belong to a network: those of other tests are out of reach."""

NOBODY = ["--reuid=nobody", "--regid=nogroup", "--clear-groups"]


@pytest.mark.system
@pytest.mark.skipif(os.geteuid() != 0, reason="lacks root, who alone has another account")
def test_no_other_account_can_keep_the_sockets_from_ours():
    require_namespace(OWN_NETWORK)
    with tempfile.TemporaryDirectory(dir="/tmp") as run:
        os.chmod(run, 0o755)
        folder = Path(run) / "shop.handover"
        words = [*OWN_NETWORK, sys.executable, "-c", SUPERVISOR, folder]
        environment = {**os.environ, "PYTHONPATH": str(RECIPES)}
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as one:
            one.stdout.readline()
            nobody = ["nsenter", f"--net=/proc/{one.pid}/ns/net", "setpriv", *NOBODY]
            attack = [*nobody, "/usr/bin/python3", "-c", ATTACK, str(one.pid)]
            others = [subprocess.Popen(attack, cwd="/") for _ in range(4)]
            try:
                time.sleep(0.5)
                for _ in range(20):
                    (received,) = sockets.receive_from(one.pid, folder)
                    received.close()
                    assert one.stdout.readline() == "True\n"
            finally:
                for process in [*others, one]:
                    process.kill()
                    process.wait()


def test_process_without_any_hands_out_none():
    assert sockets.receive_from(os.getpid()) == []
    assert sockets.receive_from(2**22) == []


def test_offer_is_found_among_the_open_files():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGIO])
    try:
        handover = sockets.SocketHandover([])
        assert list(sockets.abstract_sockets(os.getpid())) == [
            "\0" + handover.listener.getsockname()[1:].decode()
        ]
        handover.serve_requests()
        assert not handover.was_taken
        handover.listener.close()
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

    assert list(sockets.abstract_sockets(9, tmp_path)) == []
