"""Decide about a changed file in ``/etc``, as dpkg does for conffiles."""

import re
from collections.abc import Callable
from enum import Enum
from itertools import chain, count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pylonyard.system.rootfs import Entry

_UNREAD = ".disabled"
"""A suffix that no program reads: one of logrotate's taboo list."""

NEW = f".pylonyard-new{_UNREAD}"
"""Suffix of our file beside an edited one."""

_OLD = ".pylonyard-old"
OLD = f"{_OLD}{_UNREAD}"
"""Suffix of an edited file that ours has replaced."""


def kept_as(name: str, theirs: "Entry", read: Callable[[str], "Entry"]) -> str:
    """Return the path to keep ``theirs`` at, without replacing files that were kept before."""
    more = (f"{name}{_OLD}.{number}{_UNREAD}" for number in count(1))
    places = chain([name + OLD], more)
    found = ((place, read(place)) for place in places)
    return next(place for place, there in found if there.kind == "absent" or there == theirs)


def is_kept(name: str) -> bool:
    return re.search(rf"{re.escape(_OLD)}(\.\d+)?{re.escape(_UNREAD)}$", name) is not None


class Decision(Enum):
    """The decision about a file."""

    SAME = "it is as it should be"
    INSTALL = "it is missing, or as we left it"
    KEEP = "it was edited, and the release has nothing new"
    CONFLICT = "it was edited, and the release has another"
    GONE = "it was removed"


def decide(now: "Entry", laid: str | None, wanted: "Entry", *, may_be_gone: bool) -> Decision:
    """Decide about a file.

    :param laid: SHA-256 of what we put there last; None if we never did
    :param may_be_gone: whether a file that somebody removed stays removed
    """
    if now == wanted:
        return Decision.SAME
    if now.kind == "absent":
        return Decision.GONE if laid and may_be_gone else Decision.INSTALL
    if now.kind == "file" and now.digest in (laid, wanted.digest):
        return Decision.INSTALL
    return Decision.KEEP if laid == wanted.digest else Decision.CONFLICT
