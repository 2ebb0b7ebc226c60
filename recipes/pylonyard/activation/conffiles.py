"""What becomes of a file in ``/etc``, decided as dpkg decides for conffiles."""

from enum import Enum

from pylonyard.activation.entries import Entry

NEW = ".pylonyard-new"
"""Ours, beside a file of theirs. No program reads names with such an end."""

OLD = ".pylonyard-old"
"""Theirs, where ours had to take its place."""


class Decision(Enum):
    """What to do with one file."""

    SAME = "it is as it should be"
    INSTALL = "it is missing, or as we left it"
    KEEP = "it was edited, and the release has nothing new"
    CONFLICT = "it was edited, and the release has another"
    GONE = "it was removed"


def decide(now: Entry, laid: str | None, wanted: Entry, *, may_be_gone: bool) -> Decision:
    """Return what to do with a file.

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
