"""Read the package as code: its modules, their statements and imports."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from fresh_checkout import ROOT

PACKAGE = ROOT / "recipes" / "pylonyard"


def name_of(path: Path) -> str:
    """Return the dotted name of a module, below the package."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


FILES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def rooms() -> dict[str, list[str]]:
    """Return the modules of each room."""
    folders = sorted(path for path in PACKAGE.iterdir() if (path / "__init__.py").exists())
    return {
        folder.name: [
            name
            for name, path in FILES.items()
            if folder in path.parents and path.name != "__init__.py"
        ]
        for folder in folders
    }


@cache
def tree(name: str) -> ast.Module:
    """Return a module, parsed."""
    return ast.parse(FILES[name].read_text(encoding="utf-8"))


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def statements(name: str) -> Iterator[ast.stmt]:
    """Yield the statements of a module, in functions too, except those for type checkers."""
    left: list[ast.AST] = [tree(name)]
    while left:
        for each in ast.iter_child_nodes(left.pop()):
            if not isinstance(each, ast.expr) and not is_for_types(each):
                left.append(each)
                if isinstance(each, ast.stmt):
                    yield each


@cache
def imports(name: str) -> frozenset[str]:
    """Return the modules of the package that a module imports, also in functions."""
    found = set()
    for node in statements(name):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pylonyard"):
            base = (node.module or "").removeprefix("pylonyard").removeprefix(".")
            for alias in node.names:
                below = f"{base}.{alias.name}".removeprefix(".")
                found.add(below if below in FILES else base)
    return frozenset(found - {""})


def room_of(name: str) -> str:
    return name.partition(".")[0]
