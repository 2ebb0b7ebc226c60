"""The base class of our recipes: it speaks buildout's protocol."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import zc.buildout

from pylonyard.config.layout import Layout
from pylonyard.config.options import parse
from pylonyard.config.run_state import RunState
from pylonyard.system.atomic import Artifact, Link, stage
from pylonyard.system.errors import OptionError, PylonyardError, UserError, reason


def _as_buildout_error(kind: type[PylonyardError]) -> type[PylonyardError]:
    """Return a subclass of our error class that is zc.buildout's ``UserError`` as well."""
    return type(kind.__name__, (kind, zc.buildout.UserError), {"__module__": kind.__module__})


@contextmanager
def errors_for_buildout() -> Iterator[None]:
    """Make our errors zc.buildout's, which ends with one line and status 1."""
    try:
        yield
    except PylonyardError as error:
        if not isinstance(error, zc.buildout.UserError):
            error.__class__ = _as_buildout_error(type(error))
        raise


class Recipe:
    """Write the artifacts that a section describes to ``parts/<section>``.

    Whatever bad options can make fail happens in ``__init__``, which buildout calls for
    every part before it uninstalls or installs any.
    """

    declaration: ClassVar[type[Any]]

    def __init_subclass__(cls) -> None:
        """Wrap a recipe's ``install`` and ``update`` in :func:`errors_for_buildout`."""
        for name in {"install", "update"} & vars(cls).keys():
            setattr(cls, name, errors_for_buildout()(vars(cls)[name]))

    @errors_for_buildout()
    def __init__(self, buildout: Any, name: str, options: Any) -> None:
        self.buildout = buildout
        self.name = name
        self.layout = Layout.of(buildout)
        self.state = RunState.of(buildout)
        self.state.locks.hold(self.layout.directory)
        self.settings = parse(self.declaration, name, options, self.layout.directory)
        self.state.named(*vars(self.settings).values())
        self.location = self.layout.parts / name
        self.prepare()
        self.files = self._render_all()
        # Read by other parts as ${<section>:<option>}; nothing else is set.
        for option, value in self.published().items():
            options[option] = str(value)
        options["location"] = str(self.location)

    def prepare(self) -> None:
        """Prepare what rendering needs; this may write to the cache, and nowhere else."""

    def artifacts(self) -> Iterable[Artifact | Link]:
        """Return the files of this part; a pure function of its options."""
        return ()

    def published(self) -> Mapping[str, Any]:
        """Return the options that other parts may read."""
        return {}

    def _render_all(self) -> list[Artifact | Link]:
        try:
            return list(self.artifacts())
        except ValueError as error:
            raise OptionError(self.name, [str(error)]) from error

    @errors_for_buildout()
    def install(self) -> Iterable[str]:
        """Write the files; return the folder that buildout may delete later."""
        try:
            stage(self.location, self.files)
        except OSError as error:
            where = reason(error, self.location)
            raise UserError(f"[{self.name}] cannot write {where}") from error
        # buildout installs a part again in each run if a path that it returned is missing.
        return [str(self.location)] if self.files else []

    update = install


def site_path(layout: Layout, site: str, *names: str) -> Path:
    """Return the path, in the current release, of a file of a site."""
    return layout.current.joinpath(site, *names)
