"""Parse a buildout section into typed, frozen options, and render templates with them."""

import dataclasses
import difflib
import os
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pylonyard.config import quoting
from pylonyard.system.errors import OptionError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from jinja2 import BytecodeCache, Environment

T = TypeVar("T", bound="DataclassInstance")


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


# Templates: no file but those is read, none is written.


PACKAGE = Path(__file__).parents[1]

Escaper = Callable[[Any], str]


def _folders() -> list[Path]:
    """Return the folder of the templates: that of the module that renders them."""
    return [
        PACKAGE / "recipes",
        *sorted({path.parent for path in PACKAGE.glob("webservers/*/*.j2")}),
    ]


@cache
def _templates(escapers: tuple[Escaper, ...]) -> "Environment":
    # Imported here: a run that finds nothing to render need not pay for it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(_folders()),
        bytecode_cache=_bytecode_cache(),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for escaper in (quoting.sh, quoting.cron, quoting.ini, quoting.logrotate, *escapers):
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

    :param escapers: those of other syntaxes than ``config.quoting`` has, as filters of their names
    :raises ValueError: if a value cannot be spelled in the template's syntax
    """
    fields = {f.name: getattr(options, f.name) for f in dataclasses.fields(options)}
    return _templates(escapers).get_template(template).render({**fields, **more})
