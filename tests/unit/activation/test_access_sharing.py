"""Modes set back as the account that has the files, whatever that has done meanwhile."""

import os
import pwd
from pathlib import Path

import pytest
from pylonyard.activation.access import share, undo_modes
from pylonyard.activation.steps import Effects, Share
from pylonyard.system.errors import CommandError
from pylonyard.system.rootfs import Tree

OWN = pwd.getpwuid(0).pw_name


def test_made_folders_are_removed_inner_first_and_modes_restored(tmp_path):
    (tmp_path / "data/cache").mkdir(parents=True, mode=0o770)
    (tmp_path / "log").touch(mode=0o660)
    (tmp_path / "log").chmod(0o660)
    lines = []
    modes = {
        "/data": (OWN, None, 0o2770),
        "/data/cache": (OWN, None, 0o2770),
        "/log": (OWN, 0o640, 0o660),
    }

    undo_modes(Tree(tmp_path), Effects(modes=modes), lines.append)

    assert not (tmp_path / "data").exists()
    assert (tmp_path / "log").stat().st_mode & 0o7777 == 0o640
    assert lines == []


def test_file_that_goes_meanwhile_is_no_failure(tmp_path):
    for name in ("site.db", "site.db-shm"):
        (tmp_path / name).touch(mode=0o640)
    names = ["site.db", "site.db-shm", "site.db-wal"]
    step = Share(Path("/"), OWN, tuple((Path("/", name), 0o640, 0o660) for name in names))

    share(Tree(tmp_path), step)

    assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [0o660, 0o660]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_file_of_another_account_is_a_failure(tmp_path):
    (tmp_path / "site.db").touch(mode=0o640)
    paths = [Path("/site.db"), Path("/site.db-wal")]
    step = Share(Path("/"), "nobody", tuple((path, 0o640, 0o660) for path in paths))

    with pytest.raises(CommandError, match=r"^chmod: "):
        share(Tree(tmp_path), step)


def test_path_that_the_account_closed_does_not_hinder_the_rest(tmp_path):
    for name in ("first", "last"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o770)
    # Such as a folder that the account may not enter any more.
    (tmp_path / "closed").symlink_to("nowhere")
    lines = []
    modes = {
        "/first": (OWN, 0o755, 0o770),
        "/closed": (OWN, 0o700, 0o777),
        "/last": (OWN, 0o750, 0o770),
    }

    undo_modes(Tree(tmp_path), Effects(modes=modes), lines.append)

    assert (tmp_path / "first").stat().st_mode & 0o7777 == 0o755
    assert (tmp_path / "last").stat().st_mode & 0o7777 == 0o750
    assert lines == [f"chmod: chmod: cannot operate on dangling symlink '{tmp_path}/closed'"]
