import os
import signal
import subprocess
import sys

import pytest
from pylonyard.system.errors import CommandError
from pylonyard.system.subprocesses import clean_environment, last_exception, last_line, run


def test_output_is_returned_with_standard_error(tmp_path):
    printed = run(["sh", "-c", "echo out; echo err >&2; pwd"], "it", directory=tmp_path)

    assert printed == f"out\nerr\n{tmp_path}\n"


def test_standard_input_and_environment_are_given():
    assert (
        run(["sh", "-c", "cat; echo $X"], "it", stdin="in\n", environment={"X": "x"}) == "in\nx\n"
    )


def test_output_that_is_not_utf8_is_no_error():
    assert run(["printf", r"\377"], "it") == "\ufffd"


@pytest.mark.system
@pytest.mark.parametrize(
    ("command", "more", "message"),
    [
        (["sh", "-c", "echo a; echo ' why '; echo; exit 3"], {}, "it: why"),
        (["sh", "-c", "exit 3"], {}, "it: exit status 3"),
        (["sh", "-c", "exit 3"], {"advice": "try"}, "it: exit status 3; try"),
        (["sh", "-c", "echo abc; exit 1"], {"reason": str.upper}, "it: ABC\n"),
        (["/nowhere/x"], {}, "it: /nowhere/x: No such file or directory"),
        (["/etc"], {"advice": "try"}, "it: /etc: Permission denied; try"),
        (["true"], {"directory": "/nowhere"}, "it: /nowhere: No such file or directory"),
        (["sleep", "9"], {"timeout": 0.01}, "it: took longer than 0.01 s"),
    ],
)
def test_failure_is_reported_with_its_reason(command, more, message):
    with pytest.raises(CommandError) as caught:
        run(command, "it", **more)

    assert str(caught.value) == message


@pytest.mark.system
def test_program_that_is_being_started_at_an_interrupt_is_ended(monkeypatch):
    started = []

    class Started(subprocess.Popen):
        def __init__(self, *words, **more):
            super().__init__(*words, **more)
            started.append(self)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Started)

    with pytest.raises(KeyboardInterrupt):
        run(["sleep", "60"], "sleeping")

    assert [process.returncode for process in started] == [-signal.SIGKILL]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_environment_has_nothing_that_leaks_into_python(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/leak")
    monkeypatch.setenv("HOME", "/home/shop")
    monkeypatch.setenv("PATH", "/leak")

    environment = clean_environment({"X": "1"})

    assert environment["HOME"] == "/home/shop"
    assert (environment["X"], environment["LC_ALL"]) == ("1", "C.UTF-8")
    assert "/leak" not in environment.values()
    code = "import sys; print('/leak' in sys.path)"
    assert run([sys.executable, "-c", code], "it") == "False\n"


def test_our_own_account_needs_no_change():
    import pwd

    name = pwd.getpwuid(os.geteuid()).pw_name

    assert run(["id", "-un"], "it", account=name) == f"{name}\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another account")
def test_root_becomes_the_account_with_its_groups():
    assert run(["sh", "-c", "id -un; id -u; pwd"], "it", account="nobody", directory="/") == (
        "nobody\n65534\n/\n"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another account")
def test_account_that_is_missing_is_one_line():
    with pytest.raises(CommandError) as caught:
        run(["true"], "it", account="nobody-at-all")

    assert str(caught.value) == "account nobody-at-all: it is missing"


def test_hint_after_a_traceback_is_not_the_reason():
    traceback = "Traceback (most recent call last):\n  File x\nshop.Gone: no\n\nThe above ...\n\n"
    traceback += "Traceback (most recent call last):\n  File y\ndb.OperationalError: refused\n"

    assert last_exception(f"{traceback}\tIs it running?\n(See: https://a.example/)\n") == (
        "db.OperationalError: refused"
    )
    assert last_exception("ValueError: told by the program\nand more") == "and more"


@pytest.mark.parametrize(("output", "line"), [("", ""), ("a\n b \n\n", "b"), ("\n \n", "")])
def test_last_line_is_the_last_that_says_something(output, line):
    assert last_line(output) == line
