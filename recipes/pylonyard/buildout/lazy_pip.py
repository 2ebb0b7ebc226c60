"""zc.buildout 6.0 without pip's index client, until it reads a page of an index.

The defect: ``zc.buildout.patches`` imports pip's finder, with the HTTP client and the
progress bars that this needs, as soon as zc.buildout is imported.  That is half of the
time that ``buildout`` takes to start (``benchmarks/no_op.py`` times its floor with it),
for three functions that only ``PackageIndex.process_url`` calls.

The mend: while zc.buildout is imported, other modules stand in the place of those; what
they have imports pip when it is called.  To be deleted with the release of zc.buildout
that imports pip where it is used.
"""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from types import ModuleType
from typing import Any

MENDED = "6.0."

_CALLED = {
    "pip._internal.index.collector": ("IndexContent", "parse_links"),
    "pip._internal.index.package_finder": ("_check_link_requires_python",),
}


class TargetPython:
    """What zc.buildout asks of pip's class of this name."""

    py_version_info = sys.version_info[:3]


@contextmanager
def imported_late() -> Iterator[None]:
    """Keep pip out of the import of a zc.buildout that has the defect."""
    if "zc.buildout" in sys.modules or not version("zc.buildout").startswith(MENDED):
        yield
        return
    standing_in = {name: _module(name, called) for name, called in _CALLED.items()}
    target = ModuleType("pip._internal.models.target_python")
    vars(target)["TargetPython"] = TargetPython
    standing_in[target.__name__] = target
    given = {name: sys.modules[name] for name in standing_in if name in sys.modules}
    sys.modules.update(standing_in)
    try:
        yield
    finally:
        for name in standing_in:
            del sys.modules[name]
        sys.modules.update(given)


def _module(name: str, called: tuple[str, ...]) -> ModuleType:
    module = ModuleType(name)
    vars(module).update({function: _later(name, function) for function in called})
    return module


def _later(module: str, function: str) -> Callable[..., Any]:
    def call(*words: Any, **named: Any) -> Any:
        return getattr(importlib.import_module(module), function)(*words, **named)

    return call
