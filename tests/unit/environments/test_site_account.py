import os
import sys
from pathlib import Path

import pytest
from pylonyard.environments import site_account
from pylonyard.environments.site_account import SiteAccount
from pylonyard.system import accounts, relocation
from pylonyard.system.rootfs import Account

SHOP = Account("shop", 4321, 4321, "shop", frozenset({4321}))


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home that only its owner may enter, on a machine that knows of the account shop."""
    monkeypatch.setattr(site_account, "on_machine", lambda user: SHOP)
    monkeypatch.setattr(accounts, "entry", lambda name: name == "shop" or None)
    monkeypatch.setattr(accounts, "is_ours", lambda name: False)
    # What pytest gives is closed as well.
    monkeypatch.setattr(site_account, "may", lambda who, path, bits: path != tmp_path / "home")
    (tmp_path / "home" / "checkout").mkdir(parents=True)
    return tmp_path / "home"


def test_checkout_in_a_closed_home_is_reported_and_no_home_is_opened(home):
    site = SiteAccount("shop", "shop", "production")

    assert site_account.reach_problem(site, [home / "checkout"], Path(sys.executable)) == (
        f"shop cannot read {home}, and so nothing of {home}/checkout; keep it where every account "
        "may read, such as /srv/shop, and make it there again"
    )
    assert site_account.reach_problem(site, [home.parent], Path("/usr")) == ""


def test_interpreter_in_a_closed_home_is_reported_with_one_that_can_be_used(home, monkeypatch):
    python, other = home / "python3", home / "python2.7"
    for path in (python, other):
        path.symlink_to(sys.executable)
    site = SiteAccount("shop", "shop", "production")
    monkeypatch.setattr(site_account, "usable", lambda who: iter([Path("/usr/bin/python3")]))
    there = {"python3": "/usr/bin/python3"}
    monkeypatch.setattr(site_account.shutil, "which", lambda name, path: there.get(name))
    monkeypatch.setattr(
        site_account, "closed_folders", lambda who, path: home if home in path.parents else None
    )
    output = "shop cannot read {}, where {} is; use another Python: {}"

    assert site_account.reach_problem(site, [home.parent], python) == output.format(
        home, python, "python = /usr/bin/python3 in the application's section"
    )
    assert site_account.reach_problem(site, [home.parent], other) == output.format(
        home,
        other,
        "install python2.7 where every account may read, below /usr/local say, and name it as "
        "python in the application's section",
    )
    monkeypatch.setattr(site_account, "interpreter", lambda: python)
    for name in ("vendor/pylonyard/bootstrap.py", "bootstrap.py"):
        monkeypatch.setattr(relocation, "OURS", home.parent / name)
        relocation.OURS.parent.mkdir(parents=True, exist_ok=True)
        relocation.OURS.touch()
        assert site_account.reach_problem(site, [home.parent], None) == output.format(
            home, python, f"/usr/bin/python3 {name}"
        )
    monkeypatch.setattr(relocation, "OURS", home / "nowhere")
    assert site_account.reach_problem(site, [home.parent / "other"], None) == output.format(
        home, python, "make the environment of this buildout again with /usr/bin/python3"
    )


def test_account_that_is_not_there_yet_is_not_asked(home):
    site = SiteAccount("shop", "nosuchaccount", "production")

    assert site_account.reach_problem(site, [home / "checkout"], None) == ""


def test_first_closed_folder_is_found(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").touch(mode=0o600)
    (tmp_path / "link").symlink_to("a/b/file")
    opened = [tmp_path, *tmp_path.parents]
    modes = {path: path.stat().st_mode & 0o777 for path in opened}
    closed = [path for path, mode in modes.items() if not mode & 0o001]
    first = min(closed, key=lambda path: len(path.parts), default=tmp_path / "a/b/file")

    assert site_account.closed_folders(SHOP, tmp_path / "link") == first
    assert (
        site_account.closed_folders(Account("root", 0, 0, "root", frozenset()), tmp_path / "link")
        is None
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="the suite's own interpreter may be ours alone")
def test_usable_interpreters_are_those_that_everybody_can_run():
    assert all(path.is_absolute() for path in site_account.usable(SHOP))
