"""The bytecode of installed trees, made by as many processes as there are processors.

Standard library only: ``bootstrap.py`` imports this before anything is installed.
"""

import contextlib
import os
import py_compile
import warnings
from collections.abc import Iterable
from pathlib import Path

from pylonyard import workers

FEW = 20
"""So many files are compiled while another process starts."""


def make(trees: Iterable[Path]) -> None:
    """Compile every source in ``trees``, but for those that are not of this Python.

    :raises OSError: if the bytecode cannot be written
    """
    sources = [path for tree in trees for path in tree.rglob("*.py") if path.is_file()]
    # The longest last would have the others wait for it.
    sources.sort(key=lambda path: path.stat().st_size, reverse=True)
    with warnings.catch_warnings():
        # A source's odd escapes are its authors' concern.
        warnings.simplefilter("ignore")
        from pylonyard import progress  # a run with nothing to do compiles nothing

        with progress.of("Compiling", len(sources), unit="files", alone=False) as step:
            workers.share(_compile, sources, few=FEW, told=step.at)


def _compile(source: Path) -> None:
    kind = py_compile.PycInvalidationMode.TIMESTAMP
    with contextlib.suppress(py_compile.PyCompileError):
        py_compile.compile(os.fspath(source), doraise=True, invalidation_mode=kind)


def make_anew(tree: Path) -> None:
    """Replace all bytecode of a tree, of whatever origin, by that of its sources."""
    for path in list(tree.rglob("__pycache__/*.pyc")):
        path.unlink(missing_ok=True)
    make([tree])
