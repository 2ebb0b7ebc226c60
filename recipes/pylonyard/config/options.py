"""From a buildout section to a typed, frozen options object."""

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pylonyard.system.errors import OptionError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

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
