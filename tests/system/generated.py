"""Option values of every kind, taken through a recipe and read back by a real program.

Each value that comes back counts: ``same``, ``refused``, or another meaning, which is
told. How many are made is ``PYLONYARD_VALUES``; ``benchmarks/generated_values.py``
sets it to 10,000 a target.
"""

import itertools
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from pylonyard.config.run_state import RunState
from pylonyard.recipes.base import Recipe
from zc.buildout import UserError

COUNT = int(os.environ.get("PYLONYARD_VALUES", "200"))

# What some syntax or other gives a meaning to; a character that nobody does; a control.
_SPECIAL = list("\"'\\$`%;#!&|<>()[]{}*?~ =:@,^-+./\n\t\r\0\x1b")
_SPECIAL += ["\x0b", "\x85", "\xa0", "\u2028", "\ufeff", "\x7f"]
_WORDS = ["${PATH}", "$(id)", "%(here)s", "%%", " ;", " #", '""', "''", "\\\n", "%n", "</", "é☃"]
_WORDS += ["rem", "$HOME", "~root", "a b", "-n", "\\x41", "%{HTTP_HOST}", "/./", "//"]
_SPECIAL += list("abcxyz019")
_VALUES = st.one_of(
    st.lists(st.sampled_from(_SPECIAL + _WORDS), min_size=1, max_size=8).map("".join),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=12),
)


@cache
def generate_values(count: int = COUNT) -> list[str]:
    """Return ``count`` different values, as buildout would hand them to a recipe.

    They can be paths below a folder: none of their parts is ``..``, or longer than a name.
    """
    found: dict[str, None] = {}
    for number in itertools.count():
        if len(found) >= count:
            break
        for text in _drawn(number):
            parts = text.split("/")
            if text and ".." not in parts and all(len(p.encode()) < 240 for p in parts):
                found[text] = None
    return list(found)[:count]


def _drawn(number: int) -> list[str]:
    """Return some texts, others for each ``number``."""
    found: list[str] = []

    @seed(number)
    @settings(
        max_examples=1000,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(_VALUES)
    def draw(text: str) -> None:
        found.append(text.strip())

    draw()
    return found


def below(folder: Path, value: str) -> str:
    """Return ``value`` as a path below ``folder``."""
    return f"{folder}/{value if value.strip('/.') else 'x' + value}"


STATE = RunState(released_sections={"part": True, "vhost": True})
"""The state of a run with a release that takes both sections, and the environment of each."""


class Run(dict[str, Any]):
    """What recipes ask of zc.buildout; all of a test session are of one run, as its locks are."""

    def __init__(self, **sections: Any) -> None:
        super().__init__(sections)
        self._pylonyard_state = STATE


def make_recipe(
    recipe: type[Recipe], directory: Path, options: Mapping[str, str], **folders: str
) -> Any:
    """Return the recipe of a section with ``options``, or None if it refuses them."""
    base = {
        "directory": str(directory),
        "parts-directory": f"{directory}/parts",
        "bin-directory": f"{directory}/bin",
        "eggs-directory": f"{directory}/eggs",
        **folders,
    }
    try:
        return recipe(Run(buildout=base), "part", dict(options))
    except UserError:
        return None


def files_of(recipe: Any) -> dict[str, str]:
    """Return the texts of a recipe, by their paths."""
    return {file.path: file.text for file in recipe.files if hasattr(file, "text")}


class Tally:
    """Count the outcomes of values; keep the values whose meaning changed."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.counts: Counter[str] = Counter()
        self.others: list[str] = []

    def count(self, value: str, outcome: str) -> None:
        """Count ``same``, ``refused``, or what the program read in place of ``value``."""
        if outcome in ("same", "refused"):
            self.counts[outcome] += 1
        else:
            self.counts["another meaning"] += 1
            self.others.append(f"{value!r}: {outcome}")

    def check(self) -> None:
        total = sum(self.counts.values())
        print(
            f"\n{self.target}: {total} values, {self.counts['same']} with the same meaning, "
            f"{self.counts['refused']} refused, {len(self.others)} with another",
            *self.others[:20],
            sep="\n    ",
        )
        assert self.counts["same"], "nothing was read back"
        assert not self.others


def batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
