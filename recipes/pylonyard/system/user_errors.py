"""Errors whose message a user of buildout can act upon."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING or "zc.buildout" in sys.modules:
    from zc.buildout import UserError
else:
    # bin/pylonyard is no buildout: importing that takes most of a second, which
    # a rollback at night does not have.
    class UserError(Exception):
        """What zc.buildout's is."""


class OptionError(UserError):
    """A section lacks options, or has malformed ones."""

    def __init__(self, section: str, problems: Sequence[str]) -> None:
        super().__init__(f"[{section}] {'; '.join(problems)}")
        self.section = section
        self.problems = tuple(problems)


class CommandError(UserError):
    """A program that we ran failed."""

    def __init__(self, what: str, reason: str, advice: str = "") -> None:
        """Tell ``what`` failed, the program's own ``reason``, and what to do."""
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


__all__ = ["ArtifactError", "CommandError", "OptionError", "UserError"]
