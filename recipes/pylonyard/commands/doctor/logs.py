"""Check the logs of the web server, of the site and of its server for recent errors."""

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from shlex import quote

from pylonyard.commands.doctor.check import Finding, Subject, bad, good, mask_secrets, unknown
from pylonyard.system import listeners, safe_files
from pylonyard.system.errors import ServerError
from pylonyard.system.processes import is_supervisor, started
from pylonyard.webservers.registry import servers

RECENT_SECONDS = 3600
"""Seconds for which an error counts as recent."""

BYTES_READ = 262144
"""Bytes at the end of a log that are read."""

MOST_BYTES_READ = 8_000_000
"""Bytes that are read if a log has more than that of the last hour."""

# mod_wsgi logs all that an application prints with the level "wsgi:error".
_ERROR = re.compile(
    r"\[(?:(?!wsgi:error)[a-z0-9_]+:)?(?:error|crit|alert|emerg)\]|\bWSGI\d{4}:|\b(?:ERROR|CRITICAL|FATAL)\b"
    r"|^Traceback |^[\w.]*(?:Error|Exception)\b"
)
_HARMLESS = re.compile("|".join(f"(?:{one.harmless})" for one in servers()))
_TIMES = [(re.compile(one.log_time[0]), one.log_time[1]) for one in servers() if one.log_time]
# As in ISO 8601, or with slashes, as nginx writes it.
_DATE_TIME = re.compile(r"(\d{4})[-/](\d\d)[-/](\d\d)[ T](\d\d:\d\d:\d\d)")
_PREFIX = re.compile(r"^\[[^\]]*\] (\[[^\]]*\] )*")


@dataclass(frozen=True)
class LogError:
    """An error in a log; ``when`` in seconds since 1970, None if the log does not say."""

    raw: str
    when: float | None
    secrets: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """Return the line, shortened, with secrets masked."""
        return mask_secrets(self.raw, self.secrets)


def errors(text: str, secrets: tuple[str, ...] = ()) -> list[LogError]:
    """Return the errors in the text of a log; of a traceback, its last line.

    :param secrets: texts to mask
    """
    found, when, traced = [], None, False
    # A log that was truncated while it was written to begins with NULs.
    for line in text.replace("\0", "").splitlines():
        when = _time(line) or when
        bare = _PREFIX.sub("", line)
        if "Traceback (most recent call last)" in line:
            traced = True
        elif traced and bare.strip() and not bare.startswith((" ", "\t")):
            found.append(LogError(bare, when, secrets))
            traced = False
        elif (
            not traced
            and (_ERROR.search(line) or _ERROR.search(bare))
            and not _HARMLESS.search(bare)
        ):
            found.append(LogError(bare, when, secrets))
    return found


def _time(line: str) -> float | None:
    try:
        for beginning, form in _TIMES:
            if match := beginning.match(line):
                return datetime.strptime(" ".join(match.groups()), form).timestamp()
        if match := _DATE_TIME.search(line[:80]):
            when = "{}-{}-{} {}".format(*match.groups())
            return datetime.fromisoformat(when).timestamp()
    except ValueError:
        pass
    return None


def _check_log(
    check: str, path: Path, advice: str, subject: Subject, start: float | None = None
) -> Finding:
    """Report the errors of the last hour in a log; ignore those before ``start``."""
    since = time.time() - RECENT_SECONDS
    try:
        text, status, is_enough = _end(path, since)
    except ServerError:
        look = f"ls -l {quote(str(path))}; move it elsewhere, and restart what logs there"
        return bad(check, f"{path} is not a regular file", look)
    except OSError:
        return unknown(check, f"{path}: there is none, or we may not read it")
    found = errors(text, subject.secrets)
    recent = [each for each in found if (each.when or status.st_mtime) >= since]
    rotated = path.with_name(f"{path.name}.1")
    before, is_enough_before = _rotated(rotated, since, subject)
    past = [each for each in before + recent if start and each.when and each.when < int(start)]
    recent = [each for each in recent if each not in past]
    before = [each for each in before if each not in past]
    total = len(before) + len(recent)
    if not total and past:
        was = f"before the last start: {past[-1].line}"
        return good(check, f"{path}: no errors since; {was}")
    if total:
        last, where = (recent[-1], path) if recent else (before[-1], rotated)
        what = advice if recent else f"tail -50 {quote(str(rotated))}"
        more = f" (the last of {total} within the hour)" if total > 1 else ""
        return bad(check, f"{where}: {last.line}{more}", what)
    if is_enough and is_enough_before:
        return good(check, f"{path}: no errors within the hour")
    return good(check, f"{path}: no errors in its last {MOST_BYTES_READ // 1_000_000} MB")


def _rotated(path: Path, since: float, subject: Subject) -> tuple[list[LogError], bool]:
    """Return the recent errors of a rotated log, and whether these are all.

    Errors without a time are left out: they may be as old as the log.
    """
    try:
        if path.lstat().st_mtime < since:
            return [], True
        text, _, is_enough = _end(path, since)
    except (OSError, ServerError):
        return [], True
    found = errors(text, subject.secrets)
    return [each for each in found if each.when is not None and each.when >= since], is_enough


def _end(path: Path, since: float) -> tuple[str, os.stat_result, bool]:
    """Return the end of a log, its status, and whether the text goes back to ``since``.

    :raises ServerError: if it is no regular file
    :raises OSError: if it cannot be read
    """
    text, status = safe_files.read_tail(path, BYTES_READ)
    if _reaches_back(text, status.st_size <= BYTES_READ, since):
        return text, status, True
    text, status = safe_files.read_tail(path, MOST_BYTES_READ)
    return text, status, _reaches_back(text, status.st_size <= MOST_BYTES_READ, since)


def _reaches_back(text: str, is_whole: bool, since: float) -> bool:
    """Return whether a log's text goes back to ``since``; True if its lines have no times."""
    if is_whole:
        return True
    # The first line may be cut, and have a wrong time.
    _, _, lines = text.partition("\n")
    first = next((when for line in lines.splitlines() if (when := _time(line))), None)
    # Without times there is no reason to read more: each error would count as recent.
    return first is None or first < since


def webserver(subject: Subject) -> Iterator[Finding]:
    """Check the main error log of the machine's web server, or of the site's private one."""
    check = f"{subject.webserver.name}-log"
    if subject.is_served_by_private:
        path = subject.site.log / f"{subject.webserver.private_command(subject.name)}.log"
    elif subject.is_activated:
        # Only root can have made a link in root's folder.
        path = subject.machine.error_log.resolve()
    else:
        yield unknown(check, "the site is not activated")
        return
    yield _check_log(check, path, f"tail -50 {quote(str(path))}", subject)


def site(subject: Subject) -> Iterator[Finding]:
    """Check the error log of the site's virtual host."""
    if subject.is_served_by_private:
        path = subject.site.log / f"{subject.name}-error.log"
    elif subject.is_activated:
        path = subject.machine.site_log(subject.name).resolve()
    else:
        yield unknown("site-log", "the site is not activated")
        return
    yield _check_log("site-log", path, f"tail -50 {quote(str(path))}", subject)


def server(subject: Subject) -> Iterator[Finding]:
    advice = f"bin/{subject.name} log"
    start = _last_start_time(subject)
    yield _check_log("server-log", subject.settings.log, advice, subject, start)
    yield _check_log("application-log", subject.settings.application_log, advice, subject, start)


def _last_start_time(subject: Subject) -> float | None:
    """Return when the site was last started, in seconds since 1970.

    This is the start of its supervisor, which starts a failing server again and again.
    """
    settings = subject.settings
    holders = listeners.holders(listeners.inodes(settings.host, settings.port))
    times = [started(pid) for pid in holders if is_supervisor(pid)]
    return max((when for when in times if when is not None), default=None)
