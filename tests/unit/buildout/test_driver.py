import os
import subprocess

import pytest
import zc.buildout.buildout
import zc.buildout.easy_install
from pylonyard.buildout import driver
from support import make_wheel, reset_buildout
from zc.buildout import UserError


@pytest.fixture
def prepared():
    """Have the tool prepare zc.buildout, for the time of a test."""
    with reset_buildout():
        driver.prepare()
        yield


def test_defaults_are_those_of_a_checkout(prepared, tmp_path):
    (tmp_path / "buildout.cfg").write_text("[buildout]\nparts =\n")

    buildout = zc.buildout.buildout.Buildout(str(tmp_path / "buildout.cfg"), [], False)

    base = buildout["buildout"]
    assert base["download-cache"] == f"{tmp_path}/cache"
    assert base["eggs-directory"].startswith(f"{tmp_path}/cache/eggs/v5/cp3")


def test_another_run_may_make_a_folder_of_the_caches(prepared, tmp_path, monkeypatch):
    make = os.makedirs

    def late(path):
        """Make a folder when another run has made it."""
        subprocess.run(["mkdir", "-p", path], check=True)
        make(path)

    monkeypatch.setattr(os, "makedirs", late)
    (tmp_path / "buildout.cfg").write_text("[buildout]\nparts =\n")

    buildout = driver.Buildout(str(tmp_path / "buildout.cfg"), [], False)

    assert sorted(os.listdir(tmp_path)) == ["buildout.cfg", "cache"]
    assert len(buildout._logger.handlers) == 1


def test_configuration_overrides_the_defaults(prepared, tmp_path):
    (tmp_path / "buildout.cfg").write_text(
        "[buildout]\nparts =\ndownload-cache = mine\nabi-tag-eggs = false\n"
    )

    buildout = zc.buildout.buildout.Buildout(str(tmp_path / "buildout.cfg"), [], False)

    base = buildout["buildout"]
    assert base["download-cache"] == f"{tmp_path}/mine"
    assert base["eggs-directory"] == f"{tmp_path}/cache/eggs/v5"


def test_buildout_unpacks_wheels_our_way(prepared, tmp_path):
    unpack = zc.buildout.easy_install.UNPACKERS[".whl"]

    unpack(str(make_wheel(tmp_path)), str(tmp_path / "egg"))

    assert (tmp_path / "egg" / "shop.py").exists()


def test_damaged_wheel_is_one_line(tmp_path):
    wheel = tmp_path / "Shop-1.0-py3-none-any.whl"
    wheel.write_bytes(b"")

    with pytest.raises(UserError) as caught:
        driver.unpack_wheel(str(wheel), str(tmp_path / "egg"))

    assert str(caught.value) == (
        f"{wheel}: damaged: File is not a zip file; see what it is, and move it "
        "elsewhere, and run this again"
    )


def test_command_line_is_that_of_buildout(prepared, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "buildout.cfg").write_text("[buildout]\nparts =\nnewest = false\n")
    monkeypatch.setattr("sys.argv", ["bin/buildout", "query", "buildout:download-cache"])

    driver.main(tmp_path)

    assert capsys.readouterr().out.endswith(f"{tmp_path}/cache\n")
