import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pylonyard.system import atomic
from support import other_process

# Other processes that hold drafts, and waits for them.
pytestmark = pytest.mark.system

RECIPES = Path(atomic.__file__).parents[2]


HOLD = """
from pathlib import Path
from pylonyard.system import atomic as drafts
with drafts.draft(Path(sys.argv[1])) as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_draft_is_gone_afterwards(tmp_path):
    store = tmp_path / "deep" / "store"
    with atomic.draft(store) as folder:
        (folder / "file").touch()
        assert folder.parent == store
        (folder / "file").rename(store / "file")

    assert os.listdir(store) == ["file"]


def test_draft_of_a_living_run_is_left_and_of_a_killed_one_removed(tmp_path):
    holder, folder = other_process(HOLD, tmp_path)

    with atomic.draft(tmp_path):
        assert Path(folder).is_dir()
        assert atomic.sweep(tmp_path) == []

    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert Path(folder).is_dir()
    assert atomic.sweep(tmp_path) == [Path(folder)]
    assert os.listdir(tmp_path) == []


def test_sweep_takes_nothing_but_drafts(tmp_path):
    (tmp_path / ".draft-x" / "Shop.egg").mkdir(parents=True)
    (tmp_path / ".draft-link").symlink_to("Shop.egg")
    (tmp_path / ".draft-file").touch()
    (tmp_path / "Shop.egg").mkdir()

    atomic.sweep(tmp_path)

    assert sorted(os.listdir(tmp_path)) == [".draft-file", ".draft-link", "Shop.egg"]


def test_sweep_of_no_store_is_nothing(tmp_path):
    assert atomic.sweep(tmp_path / "none") == []


def test_drafts_are_made_while_others_sweep(tmp_path):
    sweeper = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import sys; sys.path.insert(0, {str(RECIPES)!r})\n"
            "from pathlib import Path\nfrom pylonyard.system import atomic as drafts\n"
            "while True: drafts.sweep(Path(sys.argv[1]))",
            tmp_path,
        ]
    )
    try:
        ends = time.monotonic() + 1
        while time.monotonic() < ends:
            with atomic.draft(tmp_path) as folder:
                (folder / "file").touch()
                assert (folder / "file").exists()
    finally:
        sweeper.kill()
        sweeper.wait()
