"""Convert what a section or a file says to the fields of a dataclass; find near misses.

Each field declares its converter and its default.  Standard library only: the server of a
site reads its settings by this, as the recipes read their options.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

NEAR = 0.75
"""The similarity of two names, from 0 to 1, from which on one may be a typing error."""


def declare(convert: Callable[[Any], Any], default: Any, **more: Any) -> Any:
    """Declare a field by its converter and its default.

    :param convert: raises ``ValueError`` with "expected ..., got ..." for what it cannot convert
    :param default: as the section or file would say it; None if the field is required
    """
    return dataclasses.field(metadata={"convert": convert, "default": default, **more})


def name_of(field: "dataclasses.Field[Any]") -> str:
    """Return the name of a field in sections and files."""
    return field.name.replace("_", "-")


def converted(
    declaration: "type[DataclassInstance]",
    given: Mapping[str, Any],
    fill: Callable[[Any], Any] = lambda default: default,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the value of each declared field, and the problem of each that has none.

    :param fill: makes of a default what stands for a field that is not given
    """
    values: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for field in dataclasses.fields(declaration):
        if not field.metadata:
            continue
        name, default = name_of(field), field.metadata["default"]
        if name not in given and default is None:
            problems[name] = "required, but missing"
            continue
        try:
            value = given[name] if name in given else fill(default)
            values[field.name] = field.metadata["convert"](value)
        except ValueError as error:
            problems[name] = str(error)
    return values, problems


def nearest(name: str, known: Iterable[str], cutoff: float = NEAR) -> str:
    """Return the most similar of the known names; empty if none is near."""
    import difflib  # here: a run with nothing to do has no use for it

    return next(iter(difflib.get_close_matches(name, sorted(known), n=1, cutoff=cutoff)), "")


def near(name: str, known: Iterable[str], cutoff: float = NEAR) -> str:
    """Return "; did you mean ...?", or nothing."""
    found = nearest(name, known, cutoff)
    return f"; did you mean {found}?" if found else ""
