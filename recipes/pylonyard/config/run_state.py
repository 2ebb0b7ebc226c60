"""What the parts of one run of zc.buildout share, whoever started it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pylonyard.config.inputs import Watch
from pylonyard.system.locks import Locks

Digests = Callable[[str], set[str] | None]
"""Gives the SHA-256 that a file of some name may have; None if a lock says nothing of it."""


@dataclass
class RunState:
    """The state of one run; zc.buildout carries it from part to part."""

    locks: Locks = field(default_factory=Locks)
    watch: Watch | None = None
    """Notes what the run goes by, if ``bin/buildout`` began it."""
    homes: dict[Any, Path] = field(default_factory=dict)
    """The environment of each application, by its options: sites mostly share one."""
    recipes: dict[tuple[str, str, str], Any] = field(default_factory=dict)
    """The recipes that were loaded, by requirement, group and entry point."""
    locked: dict[Path, Digests] = field(default_factory=dict)
    """The locks of parts; zc.buildout's own downloads have to agree with them."""

    @classmethod
    def of(cls, buildout: Any) -> "RunState":
        """Return the state of the run that ``buildout``, a zc.buildout, does."""
        held = getattr(buildout, "__dict__", {})  # a plain mapping carries nothing
        state: RunState = held.setdefault("_pylonyard_state", cls())
        return state

    def asked(self, *names: str) -> None:
        """Note that the run goes by variables of the environment."""
        if self.watch:
            self.watch.variables.update(names)

    def named(self, *values: object) -> None:
        """Note the paths among ``values``: they may only have been looked for."""
        if self.watch:
            self.watch.named(values)
