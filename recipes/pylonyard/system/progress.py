"""Show the progress of work that takes longer than two seconds; standard library only.

A terminal gets one line, drawn again and again: a bar where the end is known, otherwise
the seconds that have passed.  Anything else, a log say, gets a line now and then.  What
ends sooner shows nothing, and what was drawn is gone when it ends, also by Ctrl-C::

    with progress.of("Downloading", total=len(files)) as step:
        for file in files:
            step.at(step.done + 1, file.name)
"""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import TextIO

PATIENCE = 2.0
"""Seconds that pass before anything is shown."""

BETWEEN_FRAMES = 0.1
"""Seconds between two drawings on a terminal."""

BETWEEN_LINES = 10.0
"""Seconds, at least, between two lines of a log, whatever they are about."""

CAPTURED = "PYLONYARD_CAPTURED"
"""The variable by which our commands tell the commands that they call, see below."""

WIDEST_BAR, NARROWEST_BAR = 30, 8
USUAL_COLUMNS = 80
FRAMES = "|/-\\"
ERASE, COLOURED, PLAIN = "\r\x1b[K", "\x1b[36m", "\x1b[0m"

_steps: list["Step"] = []
"""The steps at work, the innermost last; only that one is shown."""
_lock = threading.RLock()
_is_silent = False
_last_line = float("-inf")


def silence() -> None:
    """Show nothing from now on, as ``-q`` asks for."""
    global _is_silent
    _is_silent = True


def captured_patience() -> float:
    """Return the seconds before a log gets a line from a command that init may have called.

    What it prints is captured then, as by other commands of ours, and shown when it has ended.
    An init script calls it in a session of its own.
    """
    is_captured = os.getsid(0) == os.getpid() or CAPTURED in os.environ
    return BETWEEN_LINES if is_captured else PATIENCE


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a line of ``stream`` can be drawn again: a terminal that knows how."""
    try:
        is_drawn = stream is not None and stream.isatty()
    except ValueError:  # it is closed
        return False
    return is_drawn and os.environ.get("TERM", "dumb") != "dumb"


def is_coloured(stream: TextIO) -> bool:
    """Return whether ``stream`` takes colours, and the user wants them."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


def of(
    what: str,
    total: int | None = None,
    *,
    unit: str = "",
    alone: bool = True,
    first_line: float = 0.0,
) -> "Step":
    """Return the progress of a piece of work, to be used in a ``with`` statement.

    :param what: the text before the figures, in one line
    :param total: how many there are to do; None if nobody knows
    :param unit: of these, such as ``files``; ``bytes`` are shown as MB, ``%`` without the total
    :param alone: whether it shows by itself that time passes; it takes a thread,
        which a process that forks should not have
    :param first_line: seconds before a log gets a line, if more than :data:`PATIENCE`
    """
    return Step(what, total, unit=unit, alone=alone, first_line=first_line)


def clear() -> None:
    """Erase the progress before another line is printed; it is drawn again later."""
    with _lock:
        for step in _steps:
            step.erase()


@contextlib.contextmanager
def hidden() -> Iterator[None]:
    """Show nothing during the block, while another program has the terminal."""
    global _is_silent
    was, _is_silent = _is_silent, True
    clear()
    try:
        yield
    finally:
        _is_silent = was


class Step:
    """A piece of work that is being done."""

    def __init__(
        self, what: str, total: int | None, *, unit: str, alone: bool, first_line: float
    ) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.first_line = first_line
        self.done = 0
        self.detail = ""
        self._began = self._waited_since = time.monotonic()
        self._drawn = float("-inf")
        self._frames = 0
        self._is_drawn = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True) if alone else None

    def __enter__(self) -> "Step":
        with _lock:
            for step in _steps:
                step.erase()
                # Who waits for the whole has waited for all that came before this part.
                self._waited_since = min(self._waited_since, step._waited_since)
            _steps.append(self)
        if self._thread:
            try:
                self._thread.start()
            except RuntimeError:  # a limit of threads; the work itself may need none
                self._thread = None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._thread:
            self._thread.join()
        with _lock:
            self.erase()
            if self in _steps:
                _steps.remove(self)

    def at(self, done: int, detail: str = "") -> None:
        """Record how much of the total is done, and what is being done now."""
        self.done, self.detail = done, detail
        self.tick()

    def tick(self) -> None:
        """Show that time has passed."""
        with _lock:
            now = time.monotonic()
            is_shown = not _is_silent and not self._ended.is_set() and _steps[-1:] == [self]
            if not is_shown or now - self._waited_since < PATIENCE:
                return
            if not is_terminal(sys.stderr):
                self._log(now)
            elif now - self._drawn >= BETWEEN_FRAMES and _is_in_foreground():
                self._draw(now)

    def erase(self) -> None:
        if self._is_drawn:
            self._is_drawn = False
            _put(ERASE)

    def _watch(self) -> None:
        while not self._ended.wait(BETWEEN_FRAMES):
            self.tick()

    def _log(self, now: float) -> None:
        global _last_line
        if now - _last_line >= BETWEEN_LINES and now - self._waited_since >= self.first_line:
            _last_line = now
            _put(f"{self.what}: {self._figures(now)}\n")

    def _draw(self, now: float) -> None:
        self._drawn = now
        self._frames += 1
        self._is_drawn = True
        _put(ERASE + self._line(now, _columns() - 1))

    def _line(self, now: float, width: int) -> str:
        figures, mark = self._figures(now), FRAMES[self._frames % len(FRAMES)]
        room = width - len(self.what) - len(figures) - len(" [] ")
        if self.total and room >= NARROWEST_BAR:
            size = min(room, WIDEST_BAR)
            filled = min(size, size * self.done // self.total)
            bar = "#" * filled + "-" * (size - filled)
            if is_coloured(sys.stderr):
                bar = f"{COLOURED}{bar}{PLAIN}"
            line = f"{self.what} [{bar}] {figures}"
            room -= size
        else:
            line = f"{self.what} {mark} {figures}"[: max(width, 0)]
            room = width - len(line)
        detail = f"  {self.detail}"
        return line + (detail if self.detail and len(detail) <= room else "")

    def _figures(self, now: float) -> str:
        seconds = f"{now - self._began:.0f} s"
        if self.total is None and not self.done:
            return seconds
        if self.unit == "%":
            return f"{self.done} %, {seconds}"
        of_total = f" of {self._amount(self.total)}" if self.total else ""
        unit = " MB" if self.unit == "bytes" else f" {self.unit}".rstrip()
        return f"{self._amount(self.done)}{of_total}{unit}, {seconds}"

    def _amount(self, number: int) -> str:
        return f"{number / 1e6:.1f}" if self.unit == "bytes" else str(number)


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or USUAL_COLUMNS
    except (OSError, ValueError):
        return USUAL_COLUMNS


def _is_in_foreground() -> bool:
    """Return whether the terminal is ours: one may stop whoever else writes to it."""
    try:
        return os.tcgetpgrp(sys.stderr.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return True  # not the terminal that controls us


def _put(text: str) -> None:
    """Write without Python's buffers, which another thread may be using."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.flush()
        os.write(sys.stderr.fileno(), text.encode(errors="replace"))
