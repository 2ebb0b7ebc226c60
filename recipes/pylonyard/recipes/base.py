"""Parse a section, render its templates, and speak zc.buildout's protocol: for all recipes.

A recipe is a subclass of ``Recipe``.  It declares its options as the fields of a frozen
dataclass, each an ``option``, and returns files, whose texts it makes by ``render``.
"""

import dataclasses
import difflib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import zc.buildout

from pylonyard.config.converters import cron, ini, logrotate, sh
from pylonyard.config.layout import Layout
from pylonyard.config.run_state import RunState
from pylonyard.system.atomic import Artifact, Link, stage
from pylonyard.system.errors import OptionError, PylonyardError, UserError, reason

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from jinja2 import BytecodeCache, Environment


T = TypeVar("T", bound="DataclassInstance")


# The options of a section.


def option(convert: Callable[[str], Any] = str, default: str | None = None) -> Any:
    """Declare an option, as a field of a frozen dataclass.

    :param convert: gives the value for a text; raises ``ValueError`` with
        "expected ..., got ..." if it cannot
    :param default: the text when the section omits the option, written as in
        buildout.cfg; without one the option is required
    """
    return dataclasses.field(metadata={"convert": convert, "default": default})


def parse(
    declaration: type[T],
    section: str,
    texts: Mapping[str, str],
    directory: Path = Path("/"),
) -> T:
    """Return the ``declaration`` that the ``texts`` of ``section`` describe.

    Relative paths are taken from ``directory``.  Other names are left to the
    section's own use, unless they look like typos.

    :raises OptionError: naming every missing, malformed or mistyped option
    """
    fields = {f.name.replace("_", "-"): f for f in dataclasses.fields(declaration)}
    values, problems = {}, []
    for name, field in fields.items():
        text = texts.get(name, field.metadata["default"])
        if text is None:
            problems.append(f"{name}: required, but missing")
            continue
        try:
            values[field.name] = _anchored(field.metadata["convert"](text), directory)
        except ValueError as error:
            problems.append(f"{name}: {error}")
    problems += _typos(set(texts) - set(fields), fields)
    if problems:
        raise OptionError(section, problems)
    return declaration(**values)


def _anchored(value: Any, directory: Path) -> Any:
    if isinstance(value, Path):
        return directory / value
    if isinstance(value, tuple):
        return tuple(_anchored(item, directory) for item in value)
    return value


def _typos(unknown: set[str], known: Mapping[str, Any]) -> list[str]:
    return [
        f"{name}: unknown, did you mean {near}?"
        for name in sorted(unknown)
        for near in difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    ]


# The protocol of zc.buildout.


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


# The templates, which stand in this folder.


Escaper = Callable[[Any], str]


@cache
def _templates(escapers: tuple[Escaper, ...]) -> "Environment":
    # Imported here: a run that finds nothing to render need not pay for it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        bytecode_cache=_bytecode_cache(),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for escaper in (sh, cron, ini, logrotate, *escapers):
        templates.filters[escaper.__name__] = escaper
    return templates


def _bytecode_cache() -> "BytecodeCache | None":
    """Return the folder of compiled templates: beside compiled modules, if we may write there."""
    from jinja2 import FileSystemBytecodeCache

    folder = Path(__file__).with_name("__pycache__")
    if not os.access(folder, os.W_OK):
        return None
    return FileSystemBytecodeCache(str(folder), "template-%s.cache")


def render(template: str, options: Any, *escapers: Escaper, **more: Any) -> str:
    """Return ``template`` filled with the fields of ``options`` and ``more``.

    :param escapers: for other syntaxes than ``config.converters`` has, as filters of their names
    :raises ValueError: if a value cannot be spelled in the template's syntax
    """
    fields = {f.name: getattr(options, f.name) for f in dataclasses.fields(options)}
    return _templates(escapers).get_template(template).render({**fields, **more})
