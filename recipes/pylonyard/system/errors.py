"""Errors that end in one line, exit statuses, and the limit that was reached."""

import errno
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

FAILED = 1
USAGE = 2
NOT_PERMITTED = 4
NOT_INSTALLED = 5
NOT_CONFIGURED = 6
INTERRUPTED = 130

LOOK_FIRST = "see what it is, and move it elsewhere"
"""Advice about a file in the way, which may belong to somebody."""

EXCEPTION_LINE = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Exit|Interrupt|Warning)\b")
"""The start of a line that ends a traceback."""


class PylonyardError(Exception):
    """An error that a user can correct, in one line: the root of our errors."""


class UserError(PylonyardError):
    """A run or a command cannot go on until a user changes something."""


class OptionError(UserError):
    """A section lacks options, or has malformed ones."""

    def __init__(self, section: str, problems: Sequence[str]) -> None:
        super().__init__(f"[{section}] {'; '.join(problems)}")
        self.section = section
        self.problems = tuple(problems)


class CommandError(UserError):
    """A program that we ran failed."""

    def __init__(self, what: str, reason: str, advice: str = "") -> None:
        """Take ``what`` failed, the program's own ``reason``, and what to do."""
        super().__init__(f"{what}: {reason}" + (f"; {advice}" if advice else ""))
        self.what = what
        self.reason = reason
        self.advice = advice


class ArtifactError(UserError):
    """A file was refused by the program that will read it."""

    def __init__(self, section: str, path: str, validator: str, reason: str) -> None:
        super().__init__(f"[{section}] {path}: refused by {validator}: {reason}")
        self.section = section
        self.path = path
        self.validator = validator
        self.reason = reason


class ServerError(PylonyardError):
    """An action that failed for a reason worth one line.

    ``code`` is the exit status that LSB gives to init scripts for it.
    """

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


class ActivationError(PylonyardError):
    """A release cannot be activated, or the state of the machine is not known."""


def interrupted(name: str) -> int:
    """Print that Ctrl-C has ended a program; return its exit status."""
    print(f"{name}: interrupted", file=sys.stderr)
    return INTERRUPTED


EARLY = "end_early"
"""The name of the function that handles Ctrl-C in the first lines of our scripts."""


@contextmanager
def raising_interrupts() -> Iterator[None]:
    """Have Ctrl-C raise KeyboardInterrupt during the block: there is something to clean up.

    Before and after it, the first lines of our scripts have Ctrl-C end the process at once.
    """
    import signal

    handler = signal.getsignal(signal.SIGINT)
    if getattr(handler, "__name__", "") != EARLY:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def reason(error: OSError, place: str | Path = "") -> str:
    """Return ``error`` as "path: why", and the limit that was reached, if one was.

    :param place: the path, if the error names none
    """
    why = (error.strerror or str(error)) + limit_of(error.errno)
    where = error.filename or place
    return f"{where}: {why}" if where else why


# Which limit was reached, of a process, an account or a container; standard library only.


CGROUPS = Path("/sys/fs/cgroup")
OURS = Path("/proc/self/cgroup")

NO_THREAD = "can't start new thread"
"""Python's message if it cannot start a thread, a RuntimeError."""

LINE = 300
"""Bytes of a line in a log, at most."""

LIMITS = {
    errno.EMFILE: ("open files, ulimit -n", "RLIMIT_NOFILE"),
    errno.ENOMEM: ("memory in bytes, ulimit -v", "RLIMIT_AS"),
    errno.EFBIG: ("the size of a file in bytes, ulimit -f", "RLIMIT_FSIZE"),
}
"""For each error of a system call its limit, in words and for ``resource``."""

SAID = {
    NO_THREAD: errno.EAGAIN,
    "Resource temporarily unavailable": errno.EAGAIN,
    "Too many open files": errno.EMFILE,
    "MemoryError": errno.ENOMEM,
    "Cannot allocate memory": errno.ENOMEM,
    "failed to map segment": errno.ENOMEM,
    "File too large": errno.EFBIG,
}
"""Words of other programs for these errors."""


def limit_reached(error: BaseException) -> str:
    """Return a line that names the limit which was reached; "" for another error."""
    if isinstance(error, OSError):
        name, what = limit_of(error.errno), error.strerror or str(error)
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{what}{name}" if name else ""
    what = str(error) or type(error).__name__
    is_limit = isinstance(error, MemoryError) or NO_THREAD in what or "map segment" in what
    if not is_limit:
        return ""
    what = "out of memory" if isinstance(error, MemoryError) else what
    return what + limit_of(errno.ENOMEM if NO_THREAD not in what else errno.EAGAIN)


def with_limit(line: str) -> str:
    """Return ``line``, printed by a program, with the limit that it is about, if any."""
    number = next((number for words, number in SAID.items() if words in line), None)
    return line + limit_of(number)


def limit_of(number: int | None) -> str:
    """Return the limit behind the error ``number``, in brackets; "" if there is none."""
    if number == errno.EAGAIN:
        return f" (limit of processes and threads: {_of_processes()})"
    if number not in LIMITS:
        return ""
    what, kind = LIMITS[number]
    most = _soft(kind)
    return f" (limit of {what}: {'none, the machine has no more' if most is None else most})"


def limit_of_size(size: int) -> str:
    """Return the limit that keeps a file of ``size`` bytes from growing by a line or more."""
    most = _soft("RLIMIT_FSIZE")
    return limit_of(errno.EFBIG) if most is not None and size + LINE > most else ""


def _of_processes() -> str:
    """Return the limits of processes: of the account, the container and the machine."""
    account = _soft("RLIMIT_NPROC")
    groups = list(_groups())
    reached = [f"pids.max of {group} is {most}" for group, used, most in groups if used >= most - 1]
    if reached:
        return reached[0]
    found = [] if account is None else [f"ulimit -u is {account}"]
    found += [f"pids.max of {group} is {most}" for group, _, most in groups]
    if (memory := _soft("RLIMIT_AS")) is not None:
        found.append(f"ulimit -v is {memory} bytes")
    return ", ".join(found) or "the machine's"


def _soft(kind: str) -> int | None:
    # Imported here: hardly ever is a limit reached.
    import resource

    value = resource.getrlimit(getattr(resource, kind))[0]
    return None if value == resource.RLIM_INFINITY else value


def _groups() -> Iterator[tuple[Path, int, int]]:
    """Yield folder, number and limit of processes of each control group above us."""
    with suppress(OSError):
        for line in OURS.read_text(encoding="utf-8", errors="replace").splitlines():
            _, kinds, place = line.split(":", 2)
            if kinds in ("", "pids"):
                folder = CGROUPS / kinds / place.lstrip("/")
                yield from _limited(folder, CGROUPS / kinds)


def _limited(folder: Path, top: Path) -> Iterator[tuple[Path, int, int]]:
    for group in (folder, *folder.parents):
        if not group.is_relative_to(top):
            return
        with suppress(OSError, ValueError):  # the top has none, and "max" is none
            most = int((group / "pids.max").read_text(encoding="ascii"))
            yield group, int((group / "pids.current").read_text(encoding="ascii")), most
