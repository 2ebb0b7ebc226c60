"""The state that the parts of one run of zc.buildout share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pylonyard.config.inputs import Watch
from pylonyard.system.locks import Locks

Digests = Callable[[str], set[str] | None]
"""Returns the allowed SHA-256 of a file name; None if no lock names it."""


@dataclass
class RunState:
    """The state of one run, kept on the zc.buildout object."""

    locks: Locks = field(default_factory=Locks)
    watch: Watch | None = None
    """The record of the run's inputs, if ``bin/buildout`` started it."""
    homes: dict[Any, Path] = field(default_factory=dict)
    """The environment of each application, by its options: sites often share one."""
    built: dict[Any, dict[Path, Path | None]] = field(default_factory=dict)
    """The source trees that were built for it: folder -> tree, if that is used as it stands."""
    linked: dict[str, Path] = field(default_factory=dict)
    """The built trees that other recipes find, by canonical name."""
    recipes: dict[tuple[str, str, str], Any] = field(default_factory=dict)
    """The loaded recipes, by requirement, group and entry point."""
    locked: dict[Path, Digests] = field(default_factory=dict)
    """The locks of the parts, with which zc.buildout's own downloads have to agree."""

    @classmethod
    def of(cls, buildout: Any) -> "RunState":
        """Return the state of the run of ``buildout``, a zc.buildout."""
        held = getattr(buildout, "__dict__", {})  # a plain mapping carries nothing
        state: RunState = held.setdefault("_pylonyard_state", cls())
        return state

    def asked(self, *names: str) -> None:
        """Record environment variables as inputs of the run."""
        if self.watch:
            self.watch.variables.update(names)

    def named(self, *values: object) -> None:
        """Record the paths in ``values``: the run may only have checked that they exist."""
        if self.watch:
            self.watch.named(values)
