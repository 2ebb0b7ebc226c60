"""Run other programs to their end, in a clean environment, as a given account."""

import os
import pwd
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pylonyard.system import errors, progress
from pylonyard.system.errors import CommandError

PROGRAM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def clean_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment without variables that affect an application's Python."""
    kept = {k: v for k, v in os.environ.items() if k in ("HOME", "TZ", "TMPDIR", "USER")}
    return {**kept, "PATH": PROGRAM_PATH, "LC_ALL": "C.UTF-8", **(more or {})}


def use_utf8() -> None:
    """Have the programs that we start read paths as UTF-8, where the locale is C, or another."""
    if sys.flags.utf8_mode or sys.getfilesystemencoding() != "utf-8":
        os.environ["LC_ALL"] = "C.UTF-8"


def run(
    command: Sequence[str | Path],
    what: str,
    *,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    account: str | None = None,
    stdin: str = "",
    timeout: float = 600,
    advice: str = "",
    reason: Callable[[str], str] | None = None,
    doing: str = "",
) -> str:
    """Run ``command`` and return its output, including standard error.

    :param what: the beginning of the message if it fails
    :param doing: what is shown while it runs, if that takes long
    :param account: who runs it, if we are root; ourselves if not given
    :param timeout: in seconds
    :param reason: finds the reason of a failure in what was printed; by default
        it is the last line
    :raises CommandError: if it cannot start, fails, or takes too long
    """
    try:
        with progress.of(doing or f"Running {Path(command[0]).name}"):
            finished = completed(
                command,
                clean_environment() if environment is None else environment,
                directory,
                account=account,
                stdin=stdin,
                timeout=timeout,
            )
    except subprocess.TimeoutExpired:
        raise CommandError(what, f"took longer than {timeout:g} s", advice) from None
    except OSError as error:
        # The program, or the directory.
        where = error.filename or command[0]
        why = f"{error.strerror}{errors.limit_of(error.errno)}"
        raise CommandError(what, f"{where}: {why}", advice) from error
    if finished.returncode:
        cause = (reason or last_line)(finished.stdout)
        raise CommandError(what, cause or f"exit status {finished.returncode}", advice)
    return finished.stdout


def completed(
    command: Sequence[str | Path],
    environment: Mapping[str, str],
    directory: str | Path | None = None,
    *,
    account: str | None = None,
    stdin: str = "",
    timeout: float | None = None,
) -> "subprocess.CompletedProcess[str]":
    """Run ``command`` to its end; its output includes standard error.

    It has ended in any case: at Ctrl-C, too, however early that comes.

    :param timeout: in seconds
    :raises OSError: if it cannot start
    :raises subprocess.SubprocessError: if it takes too long, or cannot change accounts
    """
    words, apart = [os.fspath(word) for word in command], as_account(account)
    with (
        _interrupts_held() as let_in,
        subprocess.Popen(
            words,
            env=dict(environment),
            cwd=directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            **apart,
        ) as process,
    ):
        try:
            let_in()
            output, _ = process.communicate(stdin, timeout=timeout)
        except BaseException:
            process.kill()
            process.wait()
            raise
    return subprocess.CompletedProcess(words, process.returncode, output)


@contextmanager
def _interrupts_held() -> Iterator[Callable[[], None]]:
    """Block Ctrl-C until the yielded function is called, or the block ends.

    A program that is only just being started could neither be ended nor waited for.
    """
    is_ours = threading.current_thread() is threading.main_thread()
    if not is_ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield lambda: None
        return
    held: list[int] = []

    def let_in() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if held:
            held.clear()
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    try:
        yield let_in
    finally:
        let_in()


def as_account(account: str | None) -> dict[str, Any]:
    """Return the arguments with which subprocess runs a program as ``account``, if we are root.

    :raises CommandError: if there is no such account
    """
    if account is None or os.geteuid():
        return {}
    try:
        entry = pwd.getpwnam(account)
    except KeyError:
        raise CommandError(f"account {account}", "it is missing") from None
    if entry.pw_uid == 0:
        return {}
    groups = os.getgrouplist(account, entry.pw_gid)
    # Without root's terminal, into which it could type.
    apart = {"start_new_session": True}
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": groups, **apart}


def first_error(output: str) -> str:
    """Return the text after the colon in the first line with an error."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for number, line in enumerate(lines):
        if "error" in line.lower():
            return " ".join(lines[number : number + 2]) if line.endswith(":") else line
    return last_line(output)


def last_exception(output: str) -> str:
    """Return the line of the last exception, since hints may follow it; or else the last line."""
    _, begun, traceback = output.rpartition("Traceback (most recent call last)")
    lines = [line.strip() for line in traceback.splitlines() if begun]
    raised = [line for line in lines if errors.EXCEPTION_LINE.match(line)]
    return raised[-1] if raised else last_line(output)


def last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def linked_libraries(module: Path, what: str = "") -> dict[str, str]:
    """Return the libraries that a module needs, each with the file that the loader takes for it.

    The file is empty if the loader finds none.

    :param what: the beginning of the message if that cannot be told
    :raises CommandError: if ``ldd`` fails
    """
    listed = run(["ldd", module], what or f"cannot list the libraries of {module}")
    return dict(re.findall(r"(\S+) => (?:(/\S+) \(0x|not found)", listed))
