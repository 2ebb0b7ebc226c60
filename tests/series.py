"""Select some cases of series and tables; ``benchmarks/series.py`` runs all of them."""

import os
from collections.abc import Iterable, Sequence
from typing import TypeVar

Case = TypeVar("Case")

VARIABLE = "PYLONYARD_SERIES"
"""The environment variable that selects all cases."""


def select_cases(kept: Sequence[Case], whole: Iterable[Case]) -> Sequence[Case]:
    """Return the cases that stand for a table: ``kept``, or all of it where it is wanted.

    :raises AssertionError: if ``kept`` is not of the table
    """
    table = list(whole)
    assert all(case in table for case in kept), kept
    return table if os.environ.get(VARIABLE) else kept
