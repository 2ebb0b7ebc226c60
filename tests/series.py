"""Series and whole tables, of which the suite takes some; ``benchmarks/series.py`` takes all."""

import os
from collections.abc import Iterable, Sequence
from typing import TypeVar

Case = TypeVar("Case")

VARIABLE = "PYLONYARD_SERIES"
"""What is set where all cases are wanted."""


def some(kept: Sequence[Case], whole: Iterable[Case]) -> Sequence[Case]:
    """Return the cases that stand for a table: ``kept``, or all of it where it is wanted.

    :raises AssertionError: if ``kept`` is not of the table
    """
    table = list(whole)
    assert all(case in table for case in kept), kept
    return table if os.environ.get(VARIABLE) else kept
