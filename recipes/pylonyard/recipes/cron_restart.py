"""Recipe ``cron_restart``: write the crontab entry that restarts a dead or hung site.

A site that a person stopped stays stopped.

=============  ========================  =========================================
Option         Type, default             Meaning
=============  ========================  =========================================
name           site name                 The site that this part belongs to.
schedule       five fields, or ``@...``  When to check; default ``*/2 * * * *``.
user           account                   The account that checks and runs the server.
mailto         address or account        Who gets a mail on a restart; default: nobody.
target         ``cron.d`` (default),     A file for ``/etc/cron.d``, or a block of
               ``crontab``               the user's own crontab, which
                                         ``bin/<site>-cron install`` edits.
=============  ========================  =========================================

Publishes ``path`` (the live file or block).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pylonyard.config import converters
from pylonyard.environments import scripts
from pylonyard.recipes.base import Recipe, option, render, site_path
from pylonyard.system.atomic import Artifact

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


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a section."""

    name: str = option(converters.site_name)
    schedule: str = option(schedule, default="*/2 * * * *")
    user: str = option(converters.account, default="")
    mailto: str | None = option(converters.optional(mail_recipient), default="")
    target: str = option(converters.one_of("cron.d", "crontab"), default="cron.d")


class CronRestart(Recipe):
    declaration = Options
    settings: Options

    @property
    def path(self) -> str:
        name = self.settings.name
        return f"etc/cron.d/{name}" if self.settings.target == "cron.d" else f"{name}/crontab"

    def artifacts(self) -> Iterator[Artifact]:
        name = self.settings.name
        control = self.layout.bin / name
        template = "cron.d.j2" if self.settings.target == "cron.d" else "crontab.j2"
        yield Artifact(self.path, render(template, self.settings, control=control))
        if self.settings.target == "crontab":
            block = str(site_path(self.layout, name, "crontab"))
            script = scripts.tool_script("pylonyard.watchers.cron", repr(name), repr(block))
            yield Artifact(f"bin/{name}-cron", script, 0o755)

    def published(self) -> Mapping[str, Any]:
        return {"path": self.layout.current / self.path}
