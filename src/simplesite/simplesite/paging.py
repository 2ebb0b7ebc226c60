"""Paging: long lists in parts, each part with an address of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pyramid.request import Request

Item = TypeVar("Item")


@dataclass(frozen=True)
class Part(Generic[Item]):
    """One part of a long list."""

    shown: Sequence[Item]
    number: int
    """From 1."""
    count: int
    """How many parts there are."""
    total: int
    """How many items there are in all."""
    parameter: str
    """The one of the address that has the number."""


def count_parts(total: int, most: int) -> int:
    """Return in how many parts of at most ``most`` a list comes; one that is empty is one part."""
    return max(-(-total // most), 1)


def place_in(request: Request, parameter: str, total: int, most: int) -> tuple[int, int]:
    """Return the number of the part that is asked for, and how many there are."""
    count = count_parts(total, most)
    asked: str = request.GET.get(parameter, "")
    # What is no number, or none of these, is an old or a mistyped address: show what there is.
    number = int(asked) if asked.isdecimal() and len(asked) < 10 else 1
    return min(max(number, 1), count), count


def part_of(items: Sequence[Item], request: Request, parameter: str, most: int) -> Part[Item]:
    """Return the part of ``items`` that the address asks for, of at most ``most``."""
    number, count = place_in(request, parameter, len(items), most)
    shown = items[(number - 1) * most : number * most]
    return Part(shown, number, count, len(items), parameter)
