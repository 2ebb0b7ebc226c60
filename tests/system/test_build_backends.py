"""Source trees of every common build backend, built as their pyproject.toml says."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

SETUPTOOLS = "setuptools.build_meta"
BACKENDS = {
    "setuptools-scm": (["setuptools>=61", "setuptools-scm>=8"], SETUPTOOLS),
    "hatchling": (["hatchling"], "hatchling.build"),
    "hatch-vcs": (["hatchling", "hatch-vcs"], "hatchling.build"),
    "flit": (["flit_core>=3.4,<4"], "flit_core.buildapi"),
    "poetry": (["poetry-core>=1.0"], "poetry.core.masonry.api"),
    "cython": (["setuptools", "Cython>=3"], SETUPTOOLS),
    "meson": (["meson-python"], "mesonpy"),
}
FROM_GIT = ("setuptools-scm", "hatch-vcs")
"""Those whose version is that of git's tag."""

C_MODULE = """
#include <Python.h>
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "by_meson", 0, -1, 0};
PyMODINIT_FUNC PyInit_by_meson(void) { return PyModule_Create(&definition); }
"""
MESON = """
project('by-meson', 'c')
import('python').find_installation().extension_module('by_meson', 'by_meson.c', install: true)
"""
CYTHON = """
from setuptools import Extension, setup
setup(ext_modules=[Extension("by_cython", ["by_cython.pyx"])])
"""


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def make_tree(folder: Path, kind: str) -> None:
    requires, backend = BACKENDS[kind]
    module = f"by_{kind.replace('-', '_')}"
    lines = ["[build-system]", f"requires = {json.dumps(requires)}", f'build-backend = "{backend}"']
    lines += ["[project]", f'name = "by-{kind}"', 'description = "A tree"']
    lines += ['dynamic = ["version"]' if kind in FROM_GIT else 'version = "1.5"']
    if kind == "setuptools-scm":
        lines += ["[tool.setuptools_scm]", 'root = "../.."']
    if kind == "hatch-vcs":
        lines += ["[tool.hatch.version]", 'source = "vcs"', "raw-options.root = '../..'"]
    write(folder / "pyproject.toml", "\n".join([*lines, ""]))
    if kind == "meson":
        write(folder / "meson.build", MESON)
        write(folder / "by_meson.c", C_MODULE)
    elif kind == "cython":
        write(folder / "setup.py", CYTHON)
        write(folder / "by_cython.pyx", "def double(int number):\n    return 2 * number\n")
    else:
        write(folder / module / "__init__.py", '"""A module."""\n')
        write(folder / module / "page.html", "<p>in git alone</p>")


def git(folder: Path, *words: str) -> None:
    name = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org")
    subprocess.run(["git", "-C", folder, *name, *words], check=True, stdout=subprocess.DEVNULL)


CONFIG = """
[buildout]
extends = profiles/base.cfg
parts = app

[site]
name = many
eggs = by-hatchling
environment = development

[app]
eggs = {eggs}
sources = {sources}
"""

SEEN = """
import importlib.metadata, os, sys
import by_cython, by_meson, by_setuptools_scm
names = sys.argv[1:]
print(*(f"{name} {importlib.metadata.version('by-' + name)}" for name in names), sep="\\n")
page = os.path.join(os.path.dirname(by_setuptools_scm.__file__), "page.html")
print(by_cython.double(4), os.path.exists(page))
"""


def test_each_tree_is_built_by_its_own_backend(checkout):
    for program in ("cc", "git"):
        if not shutil.which(program):
            pytest.skip(f"lacks {program}")
    site = checkout()
    trees = site.path / "trees"
    for kind in BACKENDS:
        make_tree(trees / "apps" / kind, kind)
    write(trees / ".gitignore", "ignored\n")
    write(trees / "apps" / "setuptools-scm" / ".github" / "workflow", "no part of a build\n")
    git(trees, "init", "--quiet")
    git(trees, "add", "--all")
    git(trees, "commit", "--quiet", "--message=All")
    git(trees, "tag", "v2.3.1")
    eggs = " ".join(f"\n    by-{kind}" for kind in BACKENDS)
    sources = " ".join(f"\n    trees/apps/{kind}" for kind in BACKENDS)
    write(site.path / "many.cfg", CONFIG.format(eggs=eggs, sources=sources))

    output = site.bootstrap("-c", "many.cfg").stdout

    assert "hatchling = " in output  # its version, to be pinned
    versions = {kind: "2.3.1" if kind in FROM_GIT else "1.5" for kind in BACKENDS}
    assert seen(site, versions) == "8 True"

    # A new commit, without a change in any file of them: the version is another one.
    write(trees / "README", "More.\n")
    git(trees, "add", "README")
    git(trees, "commit", "--quiet", "--message=More")
    git(trees, "tag", "v2.4.0")
    write(trees / "apps" / "poetry" / "by_poetry" / "__init__.py", '"""Another."""\n')
    site.buildout("-o")
    seen(site, {kind: found.replace("2.3.1", "2.4.0") for kind, found in versions.items()})


def seen(site, versions):
    """Check the versions that the application sees; return what else it does."""
    python = site.path / "parts" / "app" / "many" / "bin" / "python"
    *got, last = site.run(python, "-c", SEEN, *versions).stdout.splitlines()
    assert got == [f"{kind} {version}" for kind, version in versions.items()]
    return last
