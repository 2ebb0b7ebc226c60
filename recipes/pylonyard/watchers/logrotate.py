"""Logrotate: its file for the logs of a site, and a check of a draft of it."""

import os
import re
from pathlib import Path
from typing import Any

from pylonyard.config.converters import without_controls
from pylonyard.system import accounts
from pylonyard.system.errors import CommandError
from pylonyard.system.subprocesses import first_error, run
from pylonyard.watchers.registry import Check, Watcher

WORDS = ("logrotate", "--debug", "--state", "/dev/null")


def logrotate_path(value: Any) -> str:
    """Quote a path for logrotate, which has no escape inside its quotes."""
    text = without_controls(value, "a logrotate file")
    if re.search(r'["\\*?\[\]{}]', text):
        raise ValueError(f"{text!r} has a character that logrotate cannot hold in a path")
    return f'"{text}"'


def check(file: Path, path: str) -> None:
    """Have logrotate check a copy of a file, since it refuses files that are not root's alone.

    :param path: the path of the file in its release
    :raises CommandError: if logrotate refuses it
    """
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, file.name)
        copy.write_text(_readable(file.read_text(encoding="utf-8")), encoding="utf-8")
        copy.chmod(0o644)
        try:
            printed = run([*WORDS, copy], path, reason=first_error, doing=f"Checking {path}")
        except CommandError as error:
            raise CommandError(path, error.reason.replace(str(copy), str(file))) from error
    # Some releases of it, Debian 13's among them, warn of such a line, and leave it out.
    for line in printed.splitlines():
        if "unknown option" in line:
            raise CommandError(path, line.strip())


def _readable(text: str) -> str:
    """Return the text without ``su`` if we cannot switch to that account.

    Nor can logrotate take its group where ours is another, as after ``newgrp``.
    """
    found = re.search(r"(?m)^ *su (\S+) .*\n", text)
    can_switch = os.geteuid() == 0 or os.getegid() == (found and accounts.gid(found[1]))
    if found and not (can_switch and accounts.can_act_as(found[1])):
        return text.replace(found[0], "")
    return text


WATCHER = Watcher(
    name="logrotate",
    folder="/etc/logrotate.d",
    what="log rotation",
    checks=(Check(WORDS, "logrotate", is_needed=False, function=check),),
    is_optional=True,
    is_of_server=False,
)
