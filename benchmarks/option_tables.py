#!/usr/bin/env python3
"""Write the table of options on each recipe's page, from its declarations.

    python3 benchmarks/option_tables.py

An option is declared once, in ``Options``: its converter, default and kind are what ``option``
gets, and the docstring below it says what it is for.
"""

import argparse
import ast
import itertools
import re
import textwrap
from collections.abc import Iterator

from fresh_checkout import ROOT
from package_code import tree

TABLE = re.compile(r"(?ms)^=+  =+  =+\nOption .*?\n=+  =+  =+\n.*?^=+  =+  =+\n")
TITLES = ("Option", "Type, default", "Meaning")
KIND, LINE = 24, 100
"""Columns that the kind has at least, and a line at most."""

Row = tuple[str, str, str]


def recipes() -> list[str]:
    """Return the names in RECIPES of setup.py, which cannot be imported."""
    for node in ast.parse((ROOT / "setup.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "RECIPES":
            return list(ast.literal_eval(node.value))
    raise ValueError("setup.py has no RECIPES")


def defined(module: str, name: str) -> tuple[str, ast.stmt]:
    """Return the statement that gives a name its meaning, and its module; imports are followed."""
    for node in tree(module).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return module, node
        if isinstance(node, ast.Assign) and name in map(ast.unparse, node.targets):
            return module, node
        if isinstance(node, ast.ImportFrom) and name in {
            each.asname or each.name for each in node.names
        }:
            return defined(str(node.module).removeprefix("pylonyard."), name)
    raise ValueError(f"{module} has no {name}")


def arguments(module: str, call: ast.expr) -> dict[str, str]:
    """Return the texts that ``option`` gets: default, kind and group."""
    assert isinstance(call, ast.Call), ast.unparse(call)
    return {str(each.arg): text(module, each.value) for each in call.keywords}


def text(module: str, value: ast.expr) -> str:
    if isinstance(value, ast.Name):
        module, found = defined(module, value.id)
        assert isinstance(found, ast.Assign)
        return text(module, found.value)
    return str(ast.literal_eval(value))


def rows(recipe: str) -> Iterator[Row]:
    """Yield an option's name, its kind with the default, and its meaning; headings among them."""
    module, options = defined(f"recipes.{recipe}", "Options")
    assert isinstance(options, ast.ClassDef)
    for field, docstring in itertools.pairwise(options.body):
        if not isinstance(field, ast.AnnAssign) or not field.value:
            continue
        name = ast.unparse(field.target).replace("_", "-")
        said = arguments(module, field.value)
        said.pop("modes", None)
        if not isinstance(docstring, ast.Expr) or "kind" not in said:
            raise ValueError(f"{module}: {name} has no docstring, or no kind")
        yield from described(name, " ".join(text(module, docstring.value).split()), **said)


def described(
    name: str, meaning: str, kind: str, default: str = "", group: str = ""
) -> Iterator[Row]:
    """Yield the row of an option, with the heading above it."""
    if group:
        title, _, more = group.partition(" ")
        yield f"**{title}**", "", more
    if default and "{default}" not in meaning:
        literal = f"``{default}``"
        is_choice = literal in kind
        kind = kind.replace(literal, f"{literal} (default)") if is_choice else f"{kind}, {literal}"
    yield name, kind, meaning.replace("{default}", default)


def table(recipe: str) -> str:
    """Return the options of a recipe as a simple table of reStructuredText."""
    found = list(rows(recipe))
    words = [word for _, kind, _ in found for word in kind.split()]
    name, kind = max(len(row[0]) for row in found), max(KIND, *map(len, words))
    rest = LINE - name - kind - 4
    lines = [line for row in found for line in cells(row, kind, rest)]
    meaning = max(len(line[2]) for line in lines)
    rule = ("=" * name, "=" * kind, "=" * meaning)
    whole = [rule, TITLES, rule, *lines, rule]
    return "".join(f"{a:<{name}}  {b:<{kind}}  {c}".rstrip() + "\n" for a, b, c in whole)


def cells(row: Row, kind: int, meaning: int) -> Iterator[Row]:
    """Yield the lines of a row."""
    columns = ([row[0]], *map(wrapped, row[1:], (kind, meaning)))
    yield from itertools.zip_longest(*columns, fillvalue="")


def wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    for recipe in recipes():
        page = ROOT / "docs" / "recipes" / f"{recipe}.rst"
        old, new = TABLE.findall(page.read_text(encoding="utf-8"))[0], table(recipe)
        page.write_text(page.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


if __name__ == "__main__":
    main()
