"""List the files of a checkout, or a project, that a bundle packs.

Those are the files that git tracks; without git, all that no run has made. The files that the
last run read have to be among them, and no secret may be.
"""

import os
import re
import shlex
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from pylonyard.config.inputs import MEMORY
from pylonyard.packages import source_trees
from pylonyard.system.errors import UserError
from pylonyard.system.safe_files import json_object
from pylonyard.system.subprocesses import clean_environment, run

_MADE_ANYWHERE = frozenset({"__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache"})


def list_files(directory: Path, locks: Iterable[Path], but: Iterable[Path]) -> list[str]:
    """Return the files of the checkout, relative to it, in order.

    :param locks: the lock files of the bundle, tracked or not
    :param but: more folders to leave out
    :raises UserError: if only its owner can read one, as with a secret
    """
    left_out = {*but, *(directory / name for name in {*source_trees.MADE_BY_RUNS, ".git"})} - {
        directory,
        *directory.parents,
    }
    named = (
        _git_files(directory, "--recurse-submodules")
        if (directory / ".git").exists()
        else _source_files(directory, left_out)
    )
    paths = [*locks, *(directory / name for name in named)]
    found = {
        path.relative_to(directory).as_posix()
        for path in paths
        if _is_file(path) and not {path, *path.parents} & left_out
    }
    _refuse_private(directory, found)
    _refuse_passwords(directory, found)
    return sorted(found)


FOLDERS = ("develop", "extra-paths", "sources")
"""The options of sections that name folders of which a run reads all."""


def expect_inputs(
    directory: Path,
    tracked: Collection[str],
    sections: Mapping[str, Mapping[str, str]],
    but: Collection[Path] = (),
) -> None:
    """Check that the bundle has what the last run read.

    :param sections: those of its record
    :param but: more folders to leave out
    :raises UserError: naming the files that git does not track, and how to add them
    """
    if not (directory / ".git").exists():
        return
    folders = set(_files_in_options(directory, sections, FOLDERS))
    left_out = {directory / name for name in {*source_trees.MADE_BY_RUNS, ".git", "bin"}} | {*but}
    read = {*_files_in_options(directory, sections), *_inputs_of_last_run(directory)} - {*tracked}
    files = {name for name in read if _is_of_project(directory / name, left_out)}
    new = set(_git_files(directory, "--others", "--exclude-standard"))
    inside = {name: folder for name in new for folder in folders if _is_below(name, folder)}
    if lacking := sorted(files | inside.keys()):
        named = ", ".join(lacking[:_MOST]) + f" and {len(lacking) - _MOST} more" * (
            len(lacking) > _MOST
        )
        add = shlex.join(["git", "add", *sorted({inside.get(name, name) for name in lacking})])
        raise UserError(
            f"{named}: the last run read this, and git does not track it, so that the bundle would "
            f"lack it: {add}"
        )


_MOST = 5
"""Number of files that are named."""


def _is_below(name: str, folder: str) -> bool:
    return folder == "." or name == folder or name.startswith(f"{folder}/")


def _files_in_options(
    directory: Path, sections: Mapping[str, Mapping[str, str]], options: Collection[str] = ()
) -> Iterator[str]:
    """Yield the paths in the checkout that options name, relative to it; by default all options."""
    for section in sections.values():
        for option in options or (name for name in section if not name.startswith("__")):
            for line in section.get(option, "").splitlines():
                path = Path(os.path.normpath(directory / line.strip()))
                if line.strip() and path.is_relative_to(directory) and path.exists():
                    yield path.relative_to(directory).as_posix()


def _inputs_of_last_run(directory: Path) -> Iterator[str]:
    """Yield the files in the checkout that the last run has read, as far as that is known."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        memory = json_object((directory / MEMORY).read_bytes())
        for path in map(Path, memory["paths"]):
            if path.is_relative_to(directory):
                yield path.relative_to(directory).as_posix()


def _is_of_project(path: Path, left_out: Collection[Path]) -> bool:
    """Return whether somebody has written a file, and no run and no tool has made it."""
    if not path.is_file() or path in left_out or path.name.endswith(".pyc"):
        return False
    return all(_is_source(folder, left_out) for folder in path.parents)


def _git_files(directory: Path, *options: str) -> Iterable[str]:
    # Start no program that a configuration of git names.
    words = ["git", "-c", f"safe.directory={directory}", "-c", "core.fsmonitor=false"]
    words += ["ls-files", "-z", *options]
    listed = run(
        words,
        f"cannot ask git what {directory} holds",
        environment=clean_environment(),
        directory=directory,
        advice="apt-get install git",
    )
    return filter(None, listed.split("\0"))


def _source_files(directory: Path, left_out: set[Path]) -> Iterator[str]:
    # bootstrap.py and runs make the files in these.
    left_out = {*left_out, directory / "bin"}
    for folder, folders, names in os.walk(directory):
        here = Path(folder)
        folders[:] = [name for name in folders if _is_source(here / name, left_out)]
        links = [name for name in os.listdir(here) if (here / name).is_symlink()]
        for name in {*names, *links}:
            if not name.endswith(".pyc"):
                yield (here / name).relative_to(directory).as_posix()


def _is_source(folder: Path, left_out: Collection[Path]) -> bool:
    is_made = folder.name in _MADE_ANYWHERE or folder.name.endswith(".egg-info")
    return not (is_made or folder in left_out or source_trees.is_environment(folder))


def _is_file(path: Path) -> bool:
    return path.is_symlink() or path.is_file()


def _refuse_private(directory: Path, names: Collection[str]) -> None:
    """Refuse files that others may not read, unless all files are so (by the umask)."""
    files = [name for name in sorted(names) if not (directory / name).is_symlink()]
    private = [name for name in files if not _is_readable_by_others(directory / name)]
    if private and private != files:
        raise UserError(
            f"{', '.join(private)}: expected files that others may read, since nothing secret goes "
            "into a bundle, got mode 0600; move them out of the checkout, or: chmod go+r"
        )


_PASSWORD = re.compile(r"https?://[^/\s:@${]*:[^/\s@${]+@")


def _refuse_passwords(directory: Path, names: Iterable[str]) -> None:
    """Refuse configuration files with a password in the address of an index, say."""
    found = []
    for name in sorted(each for each in names if each.endswith((".cfg", ".toml"))):
        path = directory / name
        lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
        found += [f"{name}, line {n}" for n, line in enumerate(lines, 1) if _PASSWORD.search(line)]
    if found:
        raise UserError(
            f"{'; '.join(found)}: expected an address without its password, since nothing secret "
            "goes into a bundle; write that into ~/.netrc, with mode 0600"
        )


def _is_readable_by_others(path: Path) -> bool:
    try:
        return bool(path.lstat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
    except FileNotFoundError:
        return False
