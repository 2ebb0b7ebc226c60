"""Cron: root's files for the sites, or a site's block in a user's crontab.

All lines of a crontab but those of the block are left alone.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pylonyard.config.converters import without_controls
from pylonyard.system import command_line
from pylonyard.system.errors import interrupted, raising_interrupts
from pylonyard.system.safe_files import settle_standard_files
from pylonyard.watchers.registry import Check, Watcher

# Started a moment before, a server is not to be started by cron as well.
WATCHER = Watcher(
    name="cron",
    folder="/etc/cron.d",
    what="cron entry",
    # From standard input: Debian's crontab cuts a path after 99 characters.
    checks=(Check(("crontab", "-n", "-"), "cron", is_needed=False, reads_input=True),),
    is_optional=True,
    is_last=True,
)


def crontab_command(value: Any) -> str:
    r"""Quote a command for a crontab, where a bare % ends the command."""
    text = without_controls(value, "a crontab")
    if len(text) > 900:
        raise ValueError(f"a command of {len(text)} characters is too long for cron (900)")
    if "\\" in text:
        raise ValueError(f"{text!r} has a backslash, which cron takes for its own")
    return text.replace("%", r"\%")


def markers(name: str) -> tuple[str, str]:
    return f"# BEGIN pylonyard {name}", f"# END pylonyard {name}"


def without_block(crontab: str, name: str) -> str:
    """Return ``crontab`` without the block of ``name``.

    :raises ValueError: if the block does not end, or begins twice
    """
    begin, end = markers(name)
    lines = crontab.splitlines(keepends=True)
    begins = [i for i, line in enumerate(lines) if line.strip() == begin]
    ends = [i for i, line in enumerate(lines) if line.strip() == end]
    if not begins and not ends:
        return crontab
    if len(begins) != 1 or len(ends) != 1 or begins > ends:
        raise ValueError(
            f"expected one line {begin!r} and one {end!r} after it in the crontab; "
            "correct it with: crontab -e"
        )
    return "".join(lines[: begins[0]] + lines[ends[0] + 1 :])


def with_block(crontab: str, name: str, block: str) -> str:
    """Return ``crontab`` with ``block`` as the block of ``name``, at its end."""
    begin, end = markers(name)
    rest = without_block(crontab, name)
    if rest and not rest.endswith("\n"):
        rest += "\n"
    return f"{rest}{begin}\n{block.rstrip()}\n{end}\n"


def _read() -> str:
    listed = _run(["crontab", "-l"])
    if listed.returncode and "no crontab for" not in listed.stderr:
        raise ValueError(listed.stderr.strip() or "crontab -l failed")
    return listed.stdout


def _run(command: list[str], text: str = "") -> "subprocess.CompletedProcess[str]":
    """Run ``crontab``; keep bytes of other lines that are no UTF-8."""
    return subprocess.run(
        command, input=text, capture_output=True, encoding="utf-8", errors="surrogateescape"
    )


def _replace(text: str) -> None:
    command = ["crontab", "-"] if text else ["crontab", "-r"]
    written = _run(command, text)
    if written.returncode:
        raise ValueError(written.stderr.strip() or "crontab refused the new text")


def block(crontab: str, name: str) -> str:
    """Return the lines of the block of ``name``; empty if there is none, or it is damaged."""
    begin, end = (f"{marker}\n" for marker in markers(name))
    return crontab.partition(begin)[2].partition(end)[0] if end in crontab else ""


def has_block(name: str) -> bool:
    """Return whether the crontab of this account has a block of ``name``."""
    return markers(name)[0] in _read().splitlines()


def uninstall(name: str, lines: str) -> bool:
    """Remove the block of ``name`` if it has ``lines``; return whether it did.

    :raises ValueError: if the crontab cannot be read or written
    """
    crontab = _read()
    if block(crontab, name).rstrip() != lines.rstrip():
        return False
    _replace(without_block(crontab, name))
    return True


def main(name: str, block: str, arguments: Sequence[str] | None = None) -> int:
    """Install, remove or show the block; return the exit status.

    :param block: path of the file with the block's lines
    """
    settle_standard_files()
    try:
        action = command_line.cron(name).parse_args(arguments).action
        wanted = Path(block).read_text(encoding="utf-8")
        old = "" if action == "show" else _read()
        new = without_block(old, name) if action == "remove" else with_block(old, name, wanted)
        if action == "show":
            print(new, end="")
        elif new != old:
            with raising_interrupts():
                _replace(new)
    except (OSError, ValueError) as error:
        print(f"{name}-cron: {error}", file=sys.stderr)
        return 1
    except SystemExit as ended:
        return int(ended.code or 0)
    except KeyboardInterrupt:
        return interrupted(f"{name}-cron")
    return 0
