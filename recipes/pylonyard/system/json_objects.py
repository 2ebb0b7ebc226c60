"""Read JSON objects from files that may be damaged or newer; standard library only."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pylonyard.system.errors import PylonyardError


class DamagedError(PylonyardError, ValueError):
    """A text is not the JSON object that it should be."""

    def __init__(self, got: str) -> None:
        super().__init__(f"expected a JSON object, got {got}")


class NewerError(PylonyardError, ValueError):
    """A newer Pylonyard wrote it."""


def parsed(content: bytes | str, newest: int | None = None) -> dict[str, Any]:
    """Return the object in a file; any other content is an error of one line.

    :param newest: the newest version that the caller reads, of what carries one
    :raises DamagedError: if it is no such object
    :raises NewerError: if its version is newer
    """
    try:
        values = json.loads(content, object_pairs_hook=_unique)
    except RecursionError:
        raise DamagedError("one that is nested too deeply") from None
    except ValueError as error:  # neither JSON nor UTF-8
        if isinstance(error, DamagedError):
            raise
        raise DamagedError(f"other text: {error}") from error
    if not isinstance(values, dict):
        raise DamagedError(_KINDS.get(type(values), "a number"))
    if newest is not None:
        expect_version(values, newest)
    return values


def expect_version(values: Mapping[str, Any], newest: int) -> None:
    """Check the version of an object; a missing version is 1.

    :raises NewerError: if it is newer than ``newest``
    :raises DamagedError: if it is none
    """
    version = values.get("version", 1)
    if type(version) is not int:
        raise DamagedError(f"one with the version {version!r}")
    if version > newest:
        raise NewerError(f"version {version}, of a newer Pylonyard")


_KINDS = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; refuse one that has a key twice."""
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise DamagedError(f"one that has {twice!r} twice")
    return values
