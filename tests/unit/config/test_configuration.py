import json
import os

import pytest
from pylonyard.config import configuration
from pylonyard.system import relocation


@pytest.fixture
def sandbox(tmp_path, monkeypatch):
    """A folder with configurations, which is the current one."""
    for name in ("buildout.cfg", "production.cfg"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], None),
        (["-c", "production.cfg"], "production.cfg"),
        (["-cproduction.cfg"], "production.cfg"),
        (["-vNc", "production.cfg", "site:port=1"], "production.cfg"),
        (["site:port=1", "-c", "one.cfg", "-c", "two.cfg"], "two.cfg"),
        (["-t", "-c", "-c", "one.cfg"], "one.cfg"),
        (["-c"], ""),
        (["site:title=-c x"], None),
        (["install", "-c", "a part"], None),
        (["--version"], None),
        (["-N", "-o"], None),
    ],
)
def test_configuration_is_found_where_buildout_finds_it(words, named):
    assert configuration.named(words) == named


def test_plain_run_goes_on_with_what_was_remembered(sandbox):
    assert configuration.completed(["-N"], sandbox) == ["-N"]

    configuration.remember(sandbox, "production.cfg")

    assert configuration.completed(["-N"], sandbox) == ["-c", "production.cfg", "-N"]
    assert configuration.completed(["-c", "other.cfg"], sandbox) == ["-c", "other.cfg"]
    assert json.loads((sandbox / ".pylonyard/sandbox.json").read_text()) == {
        "version": 1,
        "configuration": "production.cfg",
    }


def test_usual_configuration_is_remembered_by_nothing(sandbox):
    configuration.remember(sandbox, "production.cfg")
    configuration.remember(sandbox, "./buildout.cfg")

    assert os.listdir(sandbox / ".pylonyard") == []
    assert configuration.remembered(sandbox) == "buildout.cfg"


def test_copied_sandbox_is_of_its_own_file(sandbox):
    configuration.remember(sandbox, str(sandbox / "production.cfg"))

    assert configuration.remembered(sandbox) == "production.cfg"


def test_file_elsewhere_is_remembered_by_its_path(sandbox, tmp_path):
    configuration.remember(sandbox, "../other.cfg")
    assert configuration.remembered(sandbox) == str(tmp_path.parent / "other.cfg")

    configuration.remember(sandbox, "https://example.org/site.cfg")
    assert configuration.completed([], sandbox) == ["-c", "https://example.org/site.cfg"]


def test_run_from_elsewhere_is_of_its_own_sandbox(sandbox, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert configuration.completed([], sandbox) == ["-c", f"{sandbox}/buildout.cfg"]

    configuration.remember(sandbox, f"{sandbox}/production.cfg")
    assert configuration.completed([], sandbox) == ["-c", f"{sandbox}/production.cfg"]


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("{", "damaged text"),
        ('{"version": 1}', "damaged text"),
        ('{"version": 2, "configuration": "x"}', "version 2, of a newer Pylonyard"),
    ],
)
def test_sandbox_that_forgot_what_it_is_does_not_guess(sandbox, text, got, monkeypatch):
    monkeypatch.setattr(relocation, "OURS", sandbox / "nowhere")
    (sandbox / ".pylonyard").mkdir()
    (sandbox / ".pylonyard/sandbox.json").write_text(text)

    with pytest.raises(configuration.MemoryDamagedError) as caught:
        configuration.completed([], sandbox)

    assert str(caught.value) == (
        f"{sandbox}/.pylonyard/sandbox.json: expected the name of this sandbox's configuration, "
        f"got {got}; name it each time: -c FILE"
    )
    for name in ("vendor/pylonyard/bootstrap.py", "bootstrap.py"):
        monkeypatch.setattr(relocation, "OURS", sandbox / name)
        relocation.OURS.parent.mkdir(parents=True, exist_ok=True)
        relocation.OURS.touch()
        with pytest.raises(
            configuration.MemoryDamagedError, match=f"once: python3 {name} -c FILE$"
        ):
            configuration.completed([], sandbox)
    assert configuration.completed(["-c", "x.cfg"], sandbox) == ["-c", "x.cfg"]


def test_run_states_its_configuration_as_from_the_sandbox(sandbox):
    assert configuration.of_run([], sandbox) == "buildout.cfg"
    assert configuration.of_run(["-c", f"{sandbox}/production.cfg"], sandbox) == "production.cfg"
