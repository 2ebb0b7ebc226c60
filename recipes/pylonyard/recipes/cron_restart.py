"""Recipe ``cron_restart``: write the crontab entry that restarts a dead or hung site.

A site that a person stopped stays stopped.

Publishes ``path`` (the live file or block).
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pylonyard.config import converters
from pylonyard.environments import scripts
from pylonyard.recipes.base import Recipe, errors_for_buildout, log, makes, option, render
from pylonyard.system.atomic import Artifact
from pylonyard.system.errors import OptionError, UserError
from pylonyard.watchers import cron

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("a minute", 0, 59, ()),
    ("an hour", 0, 23, ()),
    ("a day of the month", 1, 31, ()),
    ("a month", 1, 12, _MONTHS),
    ("a day of the week", 0, 7, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)
_SCHEDULE_NAMES = (
    "@reboot",
    "@yearly",
    "@annually",
    "@monthly",
    "@weekly",
    "@daily",
    "@midnight",
    "@hourly",
)


def schedule(text: str) -> str:
    """Check the five time fields of a crontab, or a name such as ``@hourly``.

    :raises ValueError: also for fields that Debian's ``crontab`` accepts and never runs
    """
    if text in _SCHEDULE_NAMES:
        return text
    words = text.split(" ")
    if len(words) != len(_FIELDS):
        raise converters.refuse("five fields separated by one space, or @hourly and the like", text)
    for word, (what, low, high, names) in zip(words, _FIELDS, strict=True):
        if not all(_is_valid_field(item, low, high, names) for item in word.split(",")):
            raise converters.refuse(f"{what} from {low} to {high}", word)
    return text


def _is_valid_field(item: str, low: int, high: int, names: tuple[str, ...]) -> bool:
    if item.lower() in names:
        return True
    match = re.fullmatch(r"(?:\*|([0-9]{1,2})(?:-([0-9]{1,2}))?)(?:/([0-9]{1,2}))?", item)
    if not match:
        return False
    first, last, step = (int(group) if group else None for group in match.groups())
    if step is not None and not (1 <= step <= high and (first is None or last is not None)):
        return False
    if first is None:
        return True
    return low <= first <= (last if last is not None else first) <= high


# The cron of Debian 13 ignores a file with any other character, as "unsafe mail".
_SAFE_MAIL = re.compile(r"[A-Za-z0-9][A-Za-z0-9@!:%+=/.,_-]*")


def mail_recipient(text: str) -> str:
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", text):
        try:
            converters.email(text)
        except ValueError:
            raise converters.refuse("an e-mail address or an account", text) from None
    if not _SAFE_MAIL.fullmatch(text):
        raise converters.refuse("only letters, digits and @!:%+=/.,_-, as cron does", text)
    return text


@errors_for_buildout()
def uninstall(section: str, options: Any) -> None:
    """Remove the crontab block of a part outside any release; report that of a release.

    A release stays live until the next one, which may never come.
    """
    name, path = options["name"], Path(options["path"])
    if options.get("target") != "crontab" or makes(options.buildout, f"{name}-cron"):
        return
    try:
        if path.is_relative_to(options["location"]):
            cron.uninstall(name, path.read_text(encoding="utf-8"))
        elif cron.has_block(name):
            command = path.resolve().parents[1] / "bin" / f"{name}-cron"
            log.warning(
                "[%s] your crontab still has the lines of %s: %s remove", section, name, command
            )
    except (OSError, ValueError) as error:
        raise UserError(f"[{section}] cannot change the crontab: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a section."""

    name: str = option(converters.site_name, kind="site name")
    """The site that this part belongs to."""
    schedule: str = option(schedule, default="*/2 * * * *", kind="five fields, or ``@...``")
    """When to check; default ``{default}``."""
    user: str = option(converters.account, default="", kind="account")
    """The account that checks and runs the server."""
    mailto: str | None = option(
        converters.optional(mail_recipient), default="", kind="address or account"
    )
    """Who gets a mail on a restart; default: nobody."""
    target: str = option(
        converters.one_of("cron.d", "crontab"), default="cron.d", kind="``cron.d``, ``crontab``"
    )
    """A file for ``/etc/cron.d``, or a block of the user's own crontab, which ``bin/<site>-cron
    install`` edits."""
    control: Path | None = option(converters.optional(converters.path), default="", kind="path")
    """The program whose action ``ensure`` is called; default: the init script, or in a crontab
    ``bin/<name>``. Required without a release: ``${init:control}``."""


class CronRestart(Recipe):
    declaration = Options
    settings: Options

    def prepare(self) -> None:
        """Refuse a program that no part of this buildout makes."""
        if not self.is_released and self.settings.control is None:
            raise OptionError(
                self.name,
                ["control: required outside a release, such as ${init:control}, but missing"],
            )

    @property
    def path(self) -> str:
        name = self.settings.name
        return f"etc/cron.d/{name}" if self.settings.target == "cron.d" else f"{name}/crontab"

    def artifacts(self) -> Iterator[Artifact]:
        name = self.settings.name
        template = "cron.d.j2" if self.settings.target == "cron.d" else "crontab.j2"
        command = self.layout.bin / name
        yield Artifact(
            self.path, render(template, self.settings, cron.crontab_command, command=command)
        )
        if self.settings.target == "crontab":
            words = [repr(name), repr(str(self.live / name / "crontab"))]
            script = scripts.tool_script(self.layout.directory, "pylonyard.watchers.cron", *words)
            yield Artifact(f"bin/{name}-cron", script, 0o755)

    def published(self) -> Mapping[str, Any]:
        return {"path": self.live / self.path}

    def install(self) -> Iterable[str]:
        """Write the files; say if they call a program that is not there."""
        created = super().install()
        control = self.settings.control
        if control and not os.access(control, os.X_OK):
            log.warning(
                "[%s] control: %s cannot be run, so nothing restarts the site", self.name, control
            )
        return created

    update = install
