import errno
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pylonyard
import pytest
from pylonyard.server import status
from pylonyard.system.errors import LOOK_FIRST, ServerError
from pylonyard.system.locks import BusyError, exclusive
from pylonyard.system.safe_files import open_log

RECIPES = Path(pylonyard.__file__).parents[1]


def test_intent_is_what_was_said_last(tmp_path):
    path = tmp_path / "run" / "shop.wanted"
    assert status.is_wanted_up(path) is False

    status.write_intent(path, status.UP)
    assert status.is_wanted_up(path) is True

    status.write_intent(path, status.DOWN)
    assert status.is_wanted_up(path) is False
    assert os.listdir(path.parent) == ["shop.wanted"]


def test_note_that_is_right_is_not_written_again(tmp_path, monkeypatch):
    path = tmp_path / "shop.wanted"
    status.write_intent(path, status.UP)
    before = path.stat()

    status.write_intent(path, status.UP)

    assert os.path.samestat(path.stat(), before)


@pytest.mark.parametrize("words", [(status.UP, status.DOWN), (status.DOWN, status.UP)])
def test_note_is_written_over_where_the_disk_is_full(tmp_path, monkeypatch, words):
    def refuse(**named):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "shop.wanted"
    status.write_intent(path, words[0])
    monkeypatch.setattr(tempfile, "mkstemp", refuse)

    status.write_intent(path, words[1])

    assert status.read_intent(path) == words[1]
    with pytest.raises(OSError, match="No space left"):
        status.write_intent(tmp_path / "none.wanted", status.UP)


@pytest.mark.parametrize("garbage", [b"", b"-1", b"up up", b"\xff" * 100])
def test_garbage_is_no_intent(tmp_path, garbage):
    path = tmp_path / "shop.wanted"
    path.write_bytes(garbage)

    assert status.is_wanted_up(path) is False


def test_planted_link_is_replaced_not_followed(tmp_path):
    victim, path = tmp_path / "victim", tmp_path / "shop.wanted"
    victim.write_text("up")
    path.symlink_to(victim)
    assert status.is_wanted_up(path) is False

    status.write_intent(path, status.DOWN)

    assert victim.read_text() == "up"
    assert not path.is_symlink()


@pytest.mark.parametrize("plant", ["link", "pipe", "directory"])
def test_lock_and_log_have_to_be_plain_files(tmp_path, plant):
    path = tmp_path / "shop"
    if plant == "link":
        path.symlink_to(tmp_path / "victim")
    elif plant == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    refused = f"{path} is not a regular file, as it has to be: {LOOK_FIRST}"

    with pytest.raises(ServerError) as lock, exclusive(path, 0):
        pass
    with pytest.raises(ServerError) as log:
        open_log(path)

    assert (str(lock.value), str(log.value)) == (refused, refused)
    assert not (tmp_path / "victim").exists()


def test_lock_names_its_holder(tmp_path):
    path = tmp_path / "run" / "shop.lock"
    with exclusive(path, 0):
        with pytest.raises(BusyError) as caught, exclusive(path, 0):
            pass
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with exclusive(path, 0):
        pass

    who = f"process {os.getpid()} is starting or stopping it, waited 0 s"
    assert str(caught.value) == who


def test_garbage_in_a_lock_is_not_shown(tmp_path):
    path = tmp_path / "shop.lock"
    with exclusive(path, 0):
        path.write_text("\x1b[2J")
        with pytest.raises(BusyError) as caught, exclusive(path, 0):
            pass

    assert str(caught.value) == "another process is starting or stopping it, waited 0 s"


def test_lock_file_that_was_removed_locks_nobody_out(tmp_path):
    path = tmp_path / "shop.lock"
    with exclusive(path, 0):
        path.unlink()
        with exclusive(path, 0):
            assert path.exists()


def test_lock_is_not_inherited(tmp_path):
    path = tmp_path / "shop.lock"
    with exclusive(path, 0):
        waiting = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with exclusive(path, 0):
        waiting.communicate(b"\n")


def test_log_is_appended_after_it_was_truncated(tmp_path):
    path = tmp_path / "log" / "shop.log"
    log = open_log(path)
    os.write(log, b"before\n")
    os.truncate(path, 0)
    os.write(log, b"after\n")
    os.close(log)

    assert path.read_bytes() == b"after\n"
    assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0


def test_a_character_that_the_terminal_lacks_is_reported_nevertheless():
    program = "from pylonyard.system.safe_files import settle_standard_files as settle; settle(); "
    words = [sys.executable, "-c", f"{program} print('\\N{{BULLET}}')"]
    environment = {"PYTHONPATH": str(RECIPES), "PYTHONIOENCODING": "latin-1"}

    assert subprocess.check_output(words, env=environment) == b"\\u2022\n"


def test_no_file_of_ours_is_taken_for_a_standard_one():
    program = "from pylonyard.system.safe_files import settle_standard_files as settle; settle(); "
    program += "import os; os.write(2, b'unseen'); os._exit(os.open('/', os.O_RDONLY) <= 2)"
    words = ["sh", "-c", '"$@" <&- >&- 2>&-', "sh", sys.executable, "-c", program]

    assert subprocess.run(words, env={"PYTHONPATH": str(RECIPES)}).returncode == 0
