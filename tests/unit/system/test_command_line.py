"""bin/buildout and bootstrap.py check their command line before they do anything."""

import subprocess
import sys

import pylonyard
import pytest
from pylonyard.system import command_line
from support import CHECKOUT


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("", None),
        ("-c production.cfg", None),
        ("-vvo -N -cproduction.cfg site:port=80 newest=false", None),
        ("-vc production.cfg -t 5 annotate --anything", None),
        ("--offline -O -U -D -h -t 5", None),
        ("-W", "unknown option -W"),
        ("-t5", "unknown option -t5"),
        ("-x", "unknown option -x"),
        ("--ofline", "unknown option --ofline; did you mean --offline?"),
        ("--versoin", "unknown option --versoin; did you mean --version?"),
        ("-c", "-c: expected a file, got nothing"),
        ("-t", "-t: expected seconds, got nothing"),
        ("-t soon", "-t: expected seconds, a whole number"),
        ("a:b:c=d", "a:b:c=d: expected SECTION:OPTION=VALUE"),
        ("isntall", "unknown command isntall; did you mean install?"),
        ("frobnicate", "unknown command frobnicate"),
        ("bootstrap", "bootstrap: bin/buildout exists; to make it again: python3 bootstrap.py"),
        ("-N init x", "init: bin/buildout exists; to make it again: python3 bootstrap.py"),
    ],
)
def test_command_line_of_buildout_is_understood_or_refused(line, problem):
    assert command_line.buildout_error(line.split()) == problem
    if problem and "bootstrap.py" in problem:
        ours = "python3 vendor/pylonyard/bootstrap.py"
        assert str(command_line.buildout_error(line.split(), again=ours)).endswith(f": {ours}")


def test_help_of_buildout_has_each_option_that_is_understood():
    spelled = [s for each in command_line.BUILDOUT_OPTIONS for s in each.split(", ")]
    letters = {s[1] for s in spelled if s[0] == "-" and s[1] != "-"}

    assert letters == set("chntvqoONUD")
    assert {s for s in spelled if s.startswith("--")} == set(command_line._LONG)


@pytest.mark.parametrize("word", ["-h", "--help", "-vh"])
def test_help_of_buildout_is_asked_for_in_either_way(word):
    assert command_line.asks_for_help([word])
    assert not command_line.asks_for_help(["-c", "help.cfg", "-o", "--help-all"])


def bootstrap(*words):
    """Run bootstrap.py where it could make nothing at all."""
    return subprocess.run(
        [sys.executable, "-S", CHECKOUT / "bootstrap.py", *words],
        capture_output=True,
        text=True,
        env={"PATH": "/nowhere", "BUILDOUT_HOME": "/nowhere", "HOME": "/nowhere"},
    )


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["tset"], "unknown command tset; did you mean test? See bootstrap.py --help"),
        (["--oflin"], "unknown option --oflin; did you mean --offline? See bootstrap.py --help"),
        (["fetch"], "expected FILE-OR-REQUIREMENT; see bootstrap.py fetch --help"),
        (
            ["fetch", "--indx=x", "y"],
            "unknown option --indx=x; did you mean --index? See bootstrap.py fetch --help",
        ),
    ],
)
def test_bootstrap_refuses_before_it_downloads(words, line):
    ended = bootstrap(*words)

    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", f"bootstrap.py: {line}\n")


def test_bootstrap_states_its_version_and_help():
    output = bootstrap("--version")
    assert (output.returncode, output.stdout) == (0, f"Pylonyard {pylonyard.__version__}\n")

    output = bootstrap("--help")
    assert output.returncode == 0
    assert output.stdout.startswith("usage: bootstrap.py [--offline] [-c FILE]")
    assert "    fetch " in output.stdout
    assert output.stderr == ""

    output = bootstrap("test", "--help")
    assert output.stdout.startswith("usage: bootstrap.py test [-h] [--offline] [WORD ...]")


def test_version_is_that_of_the_distribution():
    words = [sys.executable, "setup.py", "--version"]
    output = subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True)

    assert output.stdout.splitlines()[-1] == pylonyard.__version__
