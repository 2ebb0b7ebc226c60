"""The files of a checkout that a bundle holds: what git tracks, or all but what runs make."""

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from pylonyard.errors import UserError
from pylonyard.running import clean_environment, run

MADE = frozenset(
    {
        ".git",
        ".installed.cfg",
        ".pylonyard",
        ".pylonyard.lock",
        "cache",
        "current",
        "develop-eggs",
        "eggs",
        "parts",
        "releases",
        "var",
    }
)
"""What stands at the top of a sandbox and is no part of its checkout."""
_MADE_ANYWHERE = frozenset({"__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache"})


def files(directory: Path, locks: Iterable[Path], but: Iterable[Path]) -> list[str]:
    """Return the files of the checkout, relative to it, in order.

    :param locks: those that the bundle is made from, tracked or not
    :param but: folders that stay out as well
    :raises UserError: if one is for its owner's eyes alone, as a secret would be
    """
    left_out = {*but, *(directory / name for name in MADE)} - {directory, *directory.parents}
    named = _tracked(directory) if (directory / ".git").exists() else _walked(directory, left_out)
    paths = [*locks, *(directory / name for name in named)]
    found = {
        path.relative_to(directory).as_posix()
        for path in paths
        if _is_file(path) and not {path, *path.parents} & left_out
    }
    _refuse_private(directory, found)
    return sorted(found)


def _tracked(directory: Path) -> Iterable[str]:
    # What a configuration of git's would start has no business here.
    words = ["git", "-c", f"safe.directory={directory}", "-c", "core.fsmonitor=false"]
    words += ["ls-files", "-z", "--recurse-submodules"]
    told = run(
        words,
        f"cannot ask git what {directory} holds",
        environment=clean_environment(),
        directory=directory,
        advice="apt-get install git",
    )
    return filter(None, told.split("\0"))


def _walked(directory: Path, left_out: set[Path]) -> Iterator[str]:
    # What these hold is made by bootstrap.py and by each run.
    left_out = {*left_out, directory / "bin"}
    for folder, folders, names in os.walk(directory):
        here = Path(folder)
        folders[:] = [name for name in folders if _is_source(name) and here / name not in left_out]
        links = [name for name in os.listdir(here) if (here / name).is_symlink()]
        for name in {*names, *links}:
            if not name.endswith(".pyc"):
                yield (here / name).relative_to(directory).as_posix()


def _is_source(folder: str) -> bool:
    return folder not in _MADE_ANYWHERE and not folder.endswith(".egg-info")


def _is_file(path: Path) -> bool:
    return path.is_symlink() or path.is_file()


def _refuse_private(directory: Path, names: Iterable[str]) -> None:
    """Refuse what others may not read, unless the account's umask has it so for all files."""
    if not _is_shown(directory / "bootstrap.py"):
        return
    private = sorted(name for name in names if not _is_shown(directory / name))
    if private:
        raise UserError(
            f"{', '.join(private)}: expected files that others may read, since nothing secret goes "
            "into a bundle, got mode 0600; move them out of the checkout, or: chmod go+r"
        )


def _is_shown(path: Path) -> bool:
    try:
        return bool(path.lstat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
    except FileNotFoundError:
        return False
