"""The one place that knows buildout's protocol of recipes."""

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


def _told_by_buildout(kind: type[PylonyardError]) -> type[PylonyardError]:
    """Return the errors of a kind of ours that are zc.buildout's as well."""
    return type(kind.__name__, (kind, zc.buildout.UserError), {"__module__": kind.__module__})


@contextmanager
def errors_for_buildout() -> Iterator[None]:
    """Have zc.buildout end with an error of ours as with its own: in one line, with status 1."""
    try:
        yield
    except PylonyardError as error:
        if not isinstance(error, zc.buildout.UserError):
            error.__class__ = _told_by_buildout(type(error))
        raise


class Recipe:
    """Stages the artifacts that a section describes below ``parts/<section>``.

    All that may fail on bad options happens in ``__init__``, which buildout
    calls for every part before it uninstalls or installs any.
    """

    declaration: ClassVar[type[Any]]

    def __init_subclass__(cls) -> None:
        """Put the border to zc.buildout around what a recipe has it call."""
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
        self.files = self._rendered()
        # Read by other parts as ${<section>:<option>}; nothing else is set.
        for option, value in self.published().items():
            options[option] = str(value)
        options["location"] = str(self.location)

    def prepare(self) -> None:
        """Bring about what rendering needs; only stores may be written."""

    def artifacts(self) -> Iterable[Artifact | Link]:
        """Return the files of this part; pure."""
        return ()

    def published(self) -> Mapping[str, Any]:
        """Return what other parts may read of this one."""
        return {}

    def _rendered(self) -> list[Artifact | Link]:
        try:
            return list(self.artifacts())
        except ValueError as error:
            raise OptionError(self.name, [str(error)]) from error

    @errors_for_buildout()
    def install(self) -> Iterable[str]:
        """Write the staged files; return what buildout may delete later."""
        try:
            stage(self.location, self.files)
        except OSError as error:
            where = reason(error, self.location)
            raise UserError(f"[{self.name}] cannot write {where}") from error
        # What is not there would have buildout install the part anew in each run.
        return [str(self.location)] if self.files else []

    update = install


def site_path(layout: Layout, site: str, *names: str) -> Path:
    """Return the live path of a file of a site's own."""
    return layout.current.joinpath(site, *names)
