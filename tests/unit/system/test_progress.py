"""The progress of long work: on a real terminal, and elsewhere."""

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from pylonyard.system import progress

RECIPES = Path(progress.__file__).parents[2]
PROGRAM = """
import sys, time
sys.path.insert(0, {recipes!r})
from pylonyard.system import progress
progress.PATIENCE = 0.2
{lines}
"""
WORK = """
with progress.of("Unpacking", 4, unit="wheels") as step:
    for number in range(1, 5):
        step.at(number, "some.whl")
        time.sleep(0.1)
print("done")
"""


def program(lines):
    text = PROGRAM.format(recipes=str(RECIPES), lines=lines)
    return [sys.executable, "-I", "-S", "-c", text]


def on_terminal(lines, columns=80, interrupt=b"", **variables):
    """Run a program at a terminal; return its exit status, and all that came."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    environment = {"PATH": os.environ["PATH"], "TERM": "xterm", **variables}
    with subprocess.Popen(
        program(lines), stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):
            while more := os.read(ours, 1000):
                shown += more
                if interrupt and interrupt in shown:
                    process.send_signal(signal.SIGINT)
                    interrupt = b""
    os.close(ours)
    return process.returncode, shown.decode()


def left(shown):
    """Return what is left to see of what was written, a line drawn over another."""
    lines = shown.replace("\r\n", "\n").split("\n")
    return [re.sub(r".*\r\x1b\[K", "", line, flags=re.DOTALL) for line in lines]


def test_terminal_shows_a_bar_and_nothing_stays_of_it():
    status, shown = on_terminal(WORK, NO_COLOR="1")

    assert status == 0
    drawn = re.findall(r"Unpacking \[(#+)(-*)\] (\d) of 4 wheels, [01] s  some\.whl\r", shown)
    assert drawn
    for full, empty, number in drawn:
        assert (len(full), len(full + empty)) == (30 * int(number) // 4, 30)
    assert left(shown) == ["done", ""]


def test_bar_is_coloured_unless_no_color_is_set():
    coloured = re.compile(r"\[\x1b\[36m#+-*\x1b\[0m\]")

    assert coloured.search(on_terminal(WORK)[1])
    assert not coloured.search(on_terminal(WORK, NO_COLOR="1")[1])


@pytest.mark.parametrize("columns", [10, 25, 40])
def test_no_line_is_wider_than_the_terminal(columns):
    _, shown = on_terminal(WORK, columns, NO_COLOR="1")

    drawn = [part for part in re.split(r"[\r\n]|\x1b\[K", shown) if part]
    assert len(drawn) > 2
    assert max(map(len, drawn)) < columns
    assert left(shown) == ["done", ""]


def test_terminal_that_cannot_draw_gets_a_plain_line():
    status, shown = on_terminal(WORK, TERM="dumb")

    assert status == 0
    assert re.fullmatch(r"Unpacking: [234] of 4 wheels, [01] s\ndone\n", shown.replace("\r", ""))


def test_seconds_are_shown_where_the_end_is_unknown():
    _, shown = on_terminal('with progress.of("Waiting"): time.sleep(0.5)')

    assert re.search(r"Waiting [-\\|/] [01] s", shown)
    assert left(shown) == [""]


def test_interrupt_leaves_no_line_behind():
    work = 'with progress.of("Waiting"): time.sleep(60)'
    tried = f"try:\n    {work}\nexcept KeyboardInterrupt:\n    sys.exit('interrupted')"

    status, shown = on_terminal(tried, interrupt=b"Waiting")

    assert status == 1
    assert left(shown) == ["interrupted", ""]


def test_log_gets_a_line_now_and_then():
    times = "progress.BETWEEN_LINES = 0.5\n"
    work = times + 'for _ in range(8):\n    with progress.of("Waiting"): time.sleep(0.2)'

    ended = subprocess.run(program(f"progress.PATIENCE = 0.05\n{work}"), capture_output=True)

    # However many steps there are.
    assert ended.stdout == b""
    assert ended.stderr in (b"Waiting: 0 s\n" * 3, b"Waiting: 0 s\n" * 4)


@pytest.mark.parametrize(
    ("captured", "session", "message"),
    [(False, False, b"Waiting: 0 s\n"), (True, False, b""), (False, True, b"")],
    ids=["person", "command", "init"],
)
def test_log_gets_a_line_soon_unless_the_command_is_captured(captured, session, message):
    wait = 'with progress.of("Waiting", first_line=progress.captured_patience()): time.sleep(0.4)'
    environ = {k: v for k, v in os.environ.items() if k != progress.CAPTURED}

    ended = subprocess.run(
        program(f"progress.PATIENCE = 0.05\n{wait}"),
        capture_output=True,
        env={**environ, progress.CAPTURED: "1"} if captured else environ,
        start_new_session=session,
    )

    assert ended.stderr == message


@pytest.mark.parametrize(
    "lines",
    [
        'with progress.of("Waiting"): time.sleep(0.1)',
        'progress.silence()\nwith progress.of("Waiting"): time.sleep(0.4)',
    ],
    ids=["short", "silent"],
)
def test_short_or_silent_step_shows_nothing(lines):
    assert subprocess.run(program(lines), capture_output=True).stderr == b""
    assert on_terminal(lines) == (0, "")


def test_parts_of_a_whole_are_shown_once_the_whole_takes_long():
    parts = """
with progress.of("Whole", alone=False):
    for _ in range(6):
        with progress.of("Part"): time.sleep(0.15)
"""
    ended = subprocess.run(program(parts), capture_output=True)

    assert ended.stderr == b"Part: 0 s\n"


def test_line_that_is_printed_meanwhile_stands_alone():
    lines = """
with progress.of("Waiting"):
    time.sleep(0.4)
    progress.clear()
    print("a line", flush=True)
    time.sleep(0.3)
"""
    assert left(on_terminal(lines)[1]) == ["a line", ""]


def test_closed_standard_error_is_no_matter():
    words = ["sh", "-c", 'exec "$@" 2>&-', "sh", *program(WORK)]

    assert subprocess.run(words, capture_output=True).stdout == b"done\n"


def test_bytes_are_shown_in_megabytes(monkeypatch, capfd):
    monkeypatch.setattr(progress, "PATIENCE", 0)
    monkeypatch.setattr(progress, "_is_silent", False)
    monkeypatch.setattr(progress, "_last_line", float("-inf"))

    with progress.of("Downloading", 12_500_000, unit="bytes", alone=False) as step:
        step.at(2_500_000)

    assert capfd.readouterr() == ("", "Downloading: 2.5 of 12.5 MB, 0 s\n")


def test_time_is_not_taken_by_the_thread():
    began = time.monotonic()
    for _ in range(20):
        with progress.of("Short"):
            pass
    assert time.monotonic() - began < 1
