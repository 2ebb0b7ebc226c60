import contextlib
import os
import subprocess
import sys

import pytest
from pylonyard.activation.journal import Journal, exclusive, save
from pylonyard.system.accounts import ROOTS_FOLDER as FOLDER
from pylonyard.system.errors import ActivationError
from pylonyard.system.rootfs import ABSENT, Tree

AT_WORK = "another activation is at work on this machine; wait until it has finished"

ANOTHER = """
import sys
from pathlib import Path
from pylonyard.system.errors import ActivationError
from pylonyard.activation.journal import exclusive
from pylonyard.system.rootfs import Tree
try:
    with exclusive(Tree(Path(sys.argv[1]))):
        print("nobody is at work")
except ActivationError as error:
    print(error)
"""


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


def another(tree):
    """Return what another process says that wants to activate."""
    words = [sys.executable, "-c", ANOTHER, str(tree.root)]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    finished = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, env=environ)
    return finished.stdout.rstrip()


def test_process_holds_the_lock_also_when_its_journal_becomes_empty(tree, tmp_path):
    """The journal becomes empty once an interrupted activation is undone."""
    save(tree, tmp_path, Journal("x", reloaded={"apache": "reload"}))
    with exclusive(tree):
        assert another(tree) == AT_WORK
        save(tree, tmp_path, Journal("x"))
        assert another(tree) == AT_WORK
        save(tree, tmp_path, Journal("x", 3))
        assert another(tree) == AT_WORK
    assert another(tree) == "nobody is at work"


def test_machine_without_journals_is_left_as_it_was(tree, tmp_path):
    with exclusive(tree):
        save(tree, tmp_path, Journal("x", 3))
    assert os.listdir(tree.path(FOLDER))

    with exclusive(tree):
        save(tree, tmp_path, Journal("x"))
    assert tree.read(FOLDER) == ABSENT

    tree.path("/var/lib").rmdir()
    tree.path("/var").rmdir()
    with exclusive(tree):
        pass
    assert os.listdir(tmp_path) == []


class LateTree(Tree):
    """Opens the folder of the journals just before whoever holds it removes it."""

    @contextlib.contextmanager
    def folder(self, name, *, make=False):
        with super().folder(name, make=make) as opened:
            if make and name == FOLDER and not self.path("/late").exists():
                self.path("/late").touch()
                self.path(FOLDER).rmdir()
            yield opened


def test_lock_of_a_folder_that_was_removed_is_none(tree, tmp_path):
    with exclusive(LateTree(tmp_path)):
        assert tree.path("/late").exists()
        assert another(tree) == AT_WORK

        with pytest.raises(ActivationError) as caught, exclusive(tree):
            pass
    assert str(caught.value) == AT_WORK
