import pytest
from pylonyard.system import relocation
from pylonyard.system.relocation import MovedSandbox


@pytest.fixture
def sandbox(tmp_path):
    return made(tmp_path / "shop")


def made(folder):
    (folder / "releases/1/bin").mkdir(parents=True)
    (folder / "bin").mkdir()
    (folder / "current").symlink_to("releases/1")
    (folder / "releases/1/bin/shop").touch()
    (folder / "bin/shop").symlink_to("../current/bin/shop")
    return folder


@pytest.mark.parametrize("script", ["bin/shop", "current/bin/shop", "releases/1/bin/shop"])
def test_sandbox_that_was_moved_is_reported_by_each_of_its_scripts(tmp_path, sandbox, script):
    before = tmp_path / "before"

    assert relocation.detect_move(sandbox, "shop", str(sandbox / script)) is None
    found = relocation.detect_move(before, "shop", str(sandbox / script))
    assert found == MovedSandbox(before, sandbox, is_copy=False)
    assert found.path(before / "var/run") == sandbox / "var/run"
    assert found.path(tmp_path / "elsewhere") == tmp_path / "elsewhere"


def test_sandbox_of_which_there_are_two_is_a_copy(tmp_path, sandbox):
    other = made(tmp_path / "other")

    assert relocation.detect_move(other, "shop", str(sandbox / "bin/shop")).is_copy


def test_link_to_a_sandbox_or_to_its_script_is_no_move(tmp_path, sandbox):
    (tmp_path / "link").symlink_to(sandbox)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/shop").symlink_to(sandbox / "bin/shop")

    assert relocation.detect_move(sandbox, "shop", str(tmp_path / "link/bin/shop")) is None
    assert relocation.detect_move(tmp_path / "link", "shop", str(sandbox / "bin/shop")) is None
    assert relocation.detect_move(sandbox, "shop", str(tmp_path / "bin/shop")) is None


def test_script_outside_a_sandbox_says_nothing_of_one(tmp_path, sandbox):
    other = tmp_path / "before"
    assert relocation.detect_move(other, "blog", str(sandbox / "bin/shop")) is None
    assert relocation.detect_move(tmp_path / "before", "env", "/usr/bin/env") is None


def test_advice_names_the_configuration_of_the_release(sandbox, monkeypatch):
    assert relocation.how_to_make_anew(sandbox) == f"run there: python3 {relocation.OURS}"
    monkeypatch.setattr(relocation, "OURS", sandbox / "vendor" / "pylonyard" / "bootstrap.py")
    assert "bin/buildout again" in relocation.how_to_make_anew(sandbox)
    relocation.OURS.parent.mkdir(parents=True)
    relocation.OURS.touch()
    command = "run there: python3 vendor/pylonyard/bootstrap.py"
    assert relocation.how_to_make_anew(sandbox) == command
    (sandbox / "bootstrap.py").touch()
    assert relocation.how_to_make_anew(sandbox) == "run there: python3 bootstrap.py"
    (sandbox / "current/manifest.json").write_text('{"configuration": "production.cfg"}')
    output = "run there: python3 bootstrap.py -c production.cfg"
    assert relocation.how_to_make_anew(sandbox) == output
