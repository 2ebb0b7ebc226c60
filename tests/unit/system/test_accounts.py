import errno
import os
import pwd

import pytest
from pylonyard.system import accounts

NOBODY = pwd.getpwnam("nobody").pw_uid


def denied(path, number=errno.EACCES):
    return PermissionError(number, os.strerror(number), str(path))


@pytest.fixture
def ours(tmp_path, monkeypatch):
    """A folder of ours, who are ``nobody``, in which root has left another."""
    if os.geteuid():
        pytest.skip("lacks root, who alone gives files away")
    os.chown(tmp_path, NOBODY, -1)
    (tmp_path / "cache/dist").mkdir(parents=True)
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    return tmp_path


@pytest.mark.parametrize("name", ["cache", "cache/dist", "cache/dist/missing/one.whl"])
def test_file_that_root_left_is_reported_with_the_way_back(ours, name):
    assert accounts.recovery_advice(denied(ours / name)) == (
        "to take over what root left there: " + accounts.as_root(f"chown -Rh nobody {ours}/cache")
    )


def test_place_that_never_was_ours_is_not_to_be_taken(ours):
    assert accounts.recovery_advice(denied("/etc/hosts")) == ""
    os.chown(ours, 0, -1)
    assert accounts.recovery_advice(denied(ours / "cache/dist")) == ""


def test_other_causes_have_no_such_way(ours):
    assert accounts.recovery_advice(denied(ours / "cache", errno.ENOSPC)) == ""


def test_sudo_is_advised_only_where_there_is_one(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert accounts.as_root("chown x", "chown y") == "as root: chown x && chown y"

    (tmp_path / "sudo").touch(0o755)
    assert accounts.as_root("chown x", "chown y") == "sudo chown x && sudo chown y"

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert accounts.as_root("chown x", "chown y") == "chown x && chown y"
