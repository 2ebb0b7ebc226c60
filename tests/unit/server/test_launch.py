import signal

import pytest
from pylonyard.server.launch import failure_reason, most_telling_line
from pylonyard.server.supervisor import describe_exit, pause_after

OURS = "2030-01-02T03:04:05+00:00 pylonyard: the server ended: exit status 1"


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        ([], "it printed nothing"),
        ([OURS], OURS),
        (["usage: paster", "", OURS], "usage: paster"),
        (
            ["Traceback", "  File x", "ImportError: No module named y", "bye", OURS],
            "ImportError: No module named y",
        ),
        (["sqlalchemy.exc.OperationalError: \x1b[2J"], "sqlalchemy.exc.OperationalError: ?[2J"),
        (["ValueError: " + "x" * 500], "ValueError: " + "x" * 285 + "..."),
    ],
)
def test_telling_line_is_found(lines, line):
    assert most_telling_line(lines) == line


def test_only_what_this_start_logged_is_reported(tmp_path):
    log = tmp_path / "shop.log"
    log.write_text("ValueError: old\nKeyError: new\n")

    assert failure_reason(log, len("ValueError: old\n")) == f"KeyError: new, see {log}"
    assert failure_reason(log, 1000) == f"KeyError: new, see {log}", "it was rotated meanwhile"


def test_pauses_double_up_to_a_minute():
    assert [pause_after(n) for n in (1, 2, 3, 6, 7, 5000)] == [1, 2, 4, 32, 60, 60]


def test_endings_are_named():
    assert describe_exit(3 << 8) == "exit status 3"
    assert describe_exit(signal.SIGKILL) == "signal SIGKILL"
