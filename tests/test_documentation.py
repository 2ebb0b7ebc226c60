"""Compare the pages with the declarations in the code; nothing is run."""

import ast
import dataclasses
import fnmatch
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import option_tables
import pytest
import support
from option_tables import recipes
from pylonyard.commands.doctor.command import checks
from pylonyard.webservers.registry import servers

CHECKOUT = support.CHECKOUT
README = CHECKOUT / "README.md"
PAGES = [
    *(CHECKOUT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGES")),
    *sorted((CHECKOUT / "docs").rglob("*.rst")),
]


def module(recipe: str) -> Any:
    return importlib.import_module(f"pylonyard.recipes.{recipe}")


def page(recipe: str) -> str:
    return (CHECKOUT / "docs" / "recipes" / f"{recipe}.rst").read_text()


def declared(recipe: str) -> dict[str, str | None]:
    fields = dataclasses.fields(module(recipe).Options)
    return {field.name.replace("_", "-"): field.metadata["default"] for field in fields}


@pytest.mark.parametrize("recipe", recipes())
def test_a_recipe_s_page_has_the_table_of_its_declarations(recipe):
    told = "run: python3 benchmarks/option_tables.py"
    assert option_tables.TABLE.findall(page(recipe)) == [option_tables.table(recipe)], told


@pytest.mark.parametrize("recipe", recipes())
def test_a_table_has_each_option_with_its_default(recipe):
    rows = {name: f"{kind} {meaning}" for name, kind, meaning in option_tables.rows(recipe)}

    said = declared(recipe)
    assert [name for name in rows if not name.startswith("**")] == list(said)
    assert {name for name in said if said[name] and f"``{said[name]}``" not in rows[name]} == set()


@pytest.mark.parametrize("recipe", recipes())
def test_a_recipe_s_page_has_all_else_that_a_reader_looks_for(recipe):
    text = page(recipe)

    assert text.startswith(f"``pylonyard:{recipe}``\n====")
    titles = re.findall(r"(?m)^(.+)\n-+$", text)
    assert titles == ["The smallest section", "Options", "It publishes", "An example"]
    assert "\n.. code-block:: ini\n" in text
    assert "\n    $ bin/buildout" in text


@pytest.mark.parametrize("recipe", recipes())
def test_a_recipe_s_page_names_exactly_the_options_that_are_required(recipe):
    output = re.search(r"(?ms)^Required, here or by ``profiles/base.cfg``: (.*?)\.$", page(recipe))

    required = [name for name, default in declared(recipe).items() if default is None]
    assert output and re.findall(r"``(.*?)``", output.group(1)) == required


@pytest.mark.parametrize("recipe", recipes())
def test_a_recipe_s_page_names_all_that_the_recipe_publishes(recipe):
    text = page(recipe).partition("It publishes")[2].partition("An example")[0]
    source = (CHECKOUT / "recipes" / "pylonyard" / "recipes" / f"{recipe}.py").read_text()

    assert published_names(source) <= set(re.findall(r"``([^`]+)``", text))


def published_names(source: str) -> set[str]:
    """Return the keys of every dictionary that ``published`` returns."""
    return {
        key.value
        for function in ast.walk(ast.parse(source))
        if isinstance(function, ast.FunctionDef) and function.name == "published"
        for mapping in ast.walk(function)
        if isinstance(mapping, ast.Dict)
        for key in mapping.keys
        if isinstance(key, ast.Constant)
    }


def links(path: Path) -> Iterator[str]:
    """Yield the targets, in this repository, of a page's links."""
    text = path.read_text()
    pattern = r"\]\(([^)]+)\)" if path.suffix == ".md" else r"`[^`]*<([^>`]+)>`__?"
    for target in re.findall(pattern, text):
        if not re.match(r"https?://", target):
            yield target.partition("#")[0]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_links_only_to_what_exists(path):
    missing = [target for target in links(path) if not (path.parent / target).exists()]

    assert missing == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_names_only_files_of_the_repository_that_exist(path):
    named = re.findall(
        r"\b((?:docs|profiles|recipes|tests|src/simplesite)/[\w./-]*\w|\w+\.cfg\b)",
        path.read_text(),
    )
    own = {"default.cfg", "installed.cfg", "setup.cfg"}
    own |= set(re.findall(r"(?m)^``([^` ]+)``:$", path.read_text()))  # the page shows them whole
    roots = [
        CHECKOUT,
        CHECKOUT / "profiles",
        CHECKOUT / "recipes" / "pylonyard",
        CHECKOUT / "tests" / "unit",
        path.parent,
    ]
    missing = {
        name
        for name in named
        if name not in own and not any(_is_there(root / name) for root in roots)
    }

    assert missing == set()


def _is_there(path):
    """Return whether there is a file, or a page that a table of contents names without its end."""
    return path.exists() or path.with_name(f"{path.name}.rst").exists()


def test_every_page_is_reached_from_the_index():
    index = CHECKOUT / "docs" / "index.rst"
    linked = {(index.parent / target).resolve() for target in links(index)}
    pages = {path for path in PAGES if path.suffix == ".rst" and path != index}

    assert pages - linked == set()


def mapped(text: str, title: str) -> Iterator[str]:
    """Yield the names at the left of an indented map under ``title``."""
    section = text.partition(f"## {title}\n")[2].partition("\n## ")[0]
    for left in re.findall(r"(?m)^    (\S.*?)(?:  |$)", section):
        yield from left.split()


def test_every_name_in_the_map_of_the_repository_exists():
    names = list(mapped(README.read_text(), "The map of this repository"))

    assert "bootstrap.py" in names
    assert [name for name in names if not (CHECKOUT / name).exists()] == []


FORBIDDEN = {
    "a number of an issue": r"(?i)\bissues?\b|#\d+\b",
    "an absolute path of one machine": r"(?<![\w.~])/(?:work|root|tmp|opt|mnt|home)/",
    "a host of packages": r"(?i)\bpypi\b|pythonhosted|files\.\w+\.org",
    "how work is organised": r"(?i)\bmission\b|\bcolleague|\bTODO\b|\bFIXME\b",
}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_page_has(path, what):
    assert re.findall(FORBIDDEN[what], path.read_text()) == []


def test_each_check_of_the_doctor_has_a_row_for_the_night():
    text = (CHECKOUT / "docs" / "night-call.rst").read_text()
    named = re.findall(r"(?m)^\\?([*a-z_][a-z_*-]+)  +\S", text)

    every = [name for one in servers() for name in checks(one)]
    assert [
        check for check in every if not any(fnmatch.fnmatch(check, name) for name in named)
    ] == []
