"""Shared and exclusive use of a cache."""

import subprocess
import sys

import pytest
from pylonyard.system import locks
from pylonyard.system.locks import Locks
from support import CHECKOUT, other_process

RECIPES = CHECKOUT / "recipes"

USE = """
from pathlib import Path
from pylonyard.system.locks import Locks
Locks().share_cache(Path(sys.argv[1]))
print("used", flush=True)
sys.stdin.read()
"""


def test_cache_in_use_is_nobody_s_alone(tmp_path):
    with locks.lock_cache_alone(tmp_path) as is_alone:
        assert is_alone
    user, _ = other_process(USE, tmp_path)

    with locks.lock_cache_alone(tmp_path) as is_alone:
        assert not is_alone

    user.communicate("")
    with locks.lock_cache_alone(tmp_path) as is_alone:
        assert is_alone


def test_use_waits_until_a_cache_is_cleaned(tmp_path):
    path = f"import sys; sys.path.insert(0, {str(RECIPES)!r})"
    with locks.lock_cache_alone(tmp_path):
        user = subprocess.Popen(
            [sys.executable, "-c", f"{path}\n{USE}", str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with pytest.raises(subprocess.TimeoutExpired):
            user.wait(0.5)

    assert user.communicate(b"")[0] == b"used\n"


def test_cache_that_cannot_be_locked_is_used_all_the_same(tmp_path):
    (tmp_path / "file").touch()

    ours = Locks()

    ours.share_cache(tmp_path / "file" / "cache")

    assert ours.held == {}
    with locks.lock_cache_alone(tmp_path / "file" / "cache") as is_alone:
        assert not is_alone
