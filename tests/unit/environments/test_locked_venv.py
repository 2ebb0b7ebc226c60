"""Environments of other interpreters: a tampered one is never used."""

import hashlib
import os
import sys
from types import SimpleNamespace

import pytest
from pylonyard.environments import locked_venv, pip_venv
from pylonyard.environments.pip_venv import COMPLETE
from pylonyard.packages import integrity
from pylonyard.packages.integrity import Verified
from pylonyard.system.errors import OptionError


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A cache with an environment that was noted when it was made."""
    cache = tmp_path / "cache"
    home = cache / "sandboxes" / "abc"
    (cache / "verified").mkdir(parents=True)
    fill(home)
    layout = SimpleNamespace(cache=cache, environments=cache / "sandboxes")
    monkeypatch.setattr(locked_venv.Layout, "of", lambda buildout: layout)
    Verified(cache).note_tree(home)
    return SimpleNamespace(cache=cache, home=home)


def fill(home):
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "python").symlink_to(sys.executable)
    (home / "lib" / "python3.9" / "site-packages").mkdir(parents=True)
    (home / "shop.py").write_text("price = 1\n")
    (home / COMPLETE).touch()


def make(store):
    contents = SimpleNamespace(digest=lambda: store.home.name, interpreter="Python 3.9.9")
    return locked_venv.make(None, SimpleNamespace(section="app"), contents)


def test_unchanged_environment_is_used(store):
    assert make(store) == store.home


def test_environment_that_was_tampered_with_is_refused_and_made_again(store, monkeypatch):
    monkeypatch.setattr(pip_venv, "make", lambda *words: made_anew(store))
    (store.home / "shop.py").write_text("price = 0\n")

    with pytest.raises(OptionError, match=r"shop\.py: expected SHA-256 .*; moved to "):
        make(store)

    assert make(store) == store.home
    assert (store.home / "shop.py").read_text() == "price = 1\n"


def made_anew(store):
    assert not store.home.exists()
    fill(store.home)


def test_environment_that_cannot_be_moved_is_refused_every_time(store, monkeypatch):
    monkeypatch.setattr(integrity, "can_quarantine", lambda path, cache: False)
    (store.home / "shop.py").write_text("price = 0\n")
    got = hashlib.sha256(b"price = 0\n").hexdigest()

    for _ in range(2):
        with pytest.raises(OptionError, match=f"got SHA-256 {got}; it stays, since we may not"):
            make(store)


def test_environment_of_which_nothing_is_noted_is_left_to_its_users(store, monkeypatch):
    (noted,) = (store.cache / "verified").glob("*-abc.json")
    noted.unlink()
    before = {path: path.lstat() for path in store.home.rglob("*")}

    def make_beside(buildout, section, contents, build, home):
        fill(home)

    monkeypatch.setattr(pip_venv, "make", make_beside)

    own = make(store)

    assert own.parent == store.home.parent and own != store.home
    assert {path: path.lstat() for path in store.home.rglob("*")} == before
    monkeypatch.setattr(pip_venv, "make", None)  # it is there, so nothing is made again
    assert make(store) == own


def test_another_account_makes_an_environment_of_its_own(store, monkeypatch):
    homes = []
    for account in (1001, 1002):
        monkeypatch.setattr(os, "geteuid", lambda account=account: account)
        monkeypatch.setattr(pip_venv, "make", lambda *words: fill(words[-1]))
        homes.append(make(store))

    assert len({store.home, *homes}) == 3
