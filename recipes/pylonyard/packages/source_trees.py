"""Copy source trees with their git history, and compute a digest of their state.

Backends write into the tree that they build, so they get a copy.  Some take the version from
git's tags, or the list of files from git: they get a repository of their own beside the copy,
with the same commit, branch and tags.  No release ever has it.
"""

import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from pylonyard.packages import wheels
from pylonyard.packages.metadata import pyproject
from pylonyard.system.errors import CommandError, reason
from pylonyard.system.subprocesses import clean_environment, last_line

DESCRIPTIONS = ("pyproject.toml", "setup.py", "setup.cfg", "MANIFEST.in")
_TEXT = re.compile(r"(?i)(readme|licen[cs]e|copying|notice|authors|change|history|news)")
_MADE_AT_THE_TOP = {"build", "dist", "node_modules"}
_MADE_ANYWHERE = {"__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".tox", ".venv"} | {
    *(".bzr", ".git", ".hg", ".svn")
}

_PROJECT = ".pylonyard.lock"
"""Files that a folder has as soon as a buildout runs in it."""

MADE_BY_RUNS = frozenset(
    {"cache", "current", "develop-eggs", "eggs", "parts", "releases", "var"}
    | {".installed.cfg", ".mr.developer.cfg", ".pylonyard", _PROJECT}
)
"""Files at the top of a project that buildout runs in it have made."""
_COMMANDS_OF_RUNS = {"buildout", "pylonyard"}

_ASK_GIT = {
    "flit-scm",
    "hatch-vcs",
    "pbr",
    "poetry-dynamic-versioning",
    "setuptools-git",
    "setuptools-git-versioning",
    "setuptools-scm",
    "uv-dynamic-versioning",
    "vcs-versioning",
    "versioneer",
    "versioningit",
}
"""Build requirements that ask git for the version, or for the files."""


def digest(source: Path, *, editable: bool, copied: Path | None = None) -> str:
    """Return a digest of all inputs of the build of ``source``.

    :param copied: the copy of it that is built, if there is one already
    """
    held = hashlib.sha256(repr((sys.version_info[:2], editable)).encode())
    if editable:
        held.update(repr((os.fspath(source), sorted(_packages(source)))).encode())
        files: Iterable[Path] = [source / name for name in (*DESCRIPTIONS, *_texts(source))]
    else:
        files = files_of(copied or source)
    if asks_git(source):
        held.update(repr(Repository(source).state()).encode())
    for path in files:
        if path.is_file():
            name = os.fspath(path.relative_to(copied or source))
            state = (name, path.stat().st_mode & 0o111, wheels.sha256(path))
            held.update(repr(state).encode(errors="surrogateescape"))
    return held.hexdigest()[:20]


def _texts(source: Path) -> list[str]:
    """Return the files that the metadata of a project may quote."""
    named = pyproject(source).get("project", {}).get("readme", "")
    readme = named.get("file", "") if isinstance(named, dict) else named
    return sorted({name for name in os.listdir(source) if _TEXT.match(name)} | {str(readme)})


def _packages(source: Path) -> Iterable[str]:
    for folder in (source, source / "src"):
        if folder.is_dir():
            yield from (
                entry.name
                for entry in folder.iterdir()
                if entry.is_dir() and (entry / "__init__.py").exists()
            )


def files_of(source: Path) -> Iterator[Path]:
    """Yield the files and folders of a source tree, those behind links as well, in order."""
    return _below(source, source, (_identity(source),))


def _below(source: Path, folder: Path, above: tuple[tuple[int, int], ...]) -> Iterator[Path]:
    names = os.listdir(folder)
    for name in sorted(set(names) - _left_out(source, os.fspath(folder), names)):
        path = folder / name
        if not path.is_dir():
            yield path
        elif (here := _identity(path)) not in above:  # else a link that leads back
            yield path
            yield from _below(source, path, (*above, here))


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _left_out(source: Path, folder: str, names: Iterable[str]) -> set[str]:
    """Return the names in a folder of a source tree that are no part of the source.

    That is what building made, what is neither file nor folder, and, where the tree is a
    project in which a buildout runs as well, what its runs made.
    """
    found = set()
    for name in names:
        try:
            mode = os.stat(os.path.join(folder, name)).st_mode
        except OSError:  # a link that leads nowhere
            mode = 0
        is_file = stat.S_ISREG(mode) and not name.endswith(".pyc")
        if not (is_file or (stat.S_ISDIR(mode) and _is_source(source, Path(folder, name)))):
            found.add(name)
    if (source / _PROJECT).exists():
        if Path(folder) == source:
            found |= MADE_BY_RUNS
        if Path(folder) == source / "bin":
            found |= {n for n in names if Path(folder, n).is_symlink()} | _COMMANDS_OF_RUNS
            made = _made_by_parts(source)
            found |= {n for n in names if os.path.join(folder, n) in made}
    return found


def _made_by_parts(source: Path) -> set[str]:
    """Return the paths that the parts of a project made, those of other recipes too.

    Their scripts may name the tree that is built here: each run would build another one.
    """
    try:
        return set((source / ".installed.cfg").read_text(errors="replace").split())
    except OSError:
        return set()


def is_environment(folder: Path) -> bool:
    """Return whether this is a virtual environment (PEP 405)."""
    return (folder / "pyvenv.cfg").exists()


def _is_source(source: Path, folder: Path) -> bool:
    """Return whether a folder is part of a source; at the top, more names are left out."""
    if folder.name in _MADE_ANYWHERE or is_environment(folder):
        return False
    if folder.name.endswith(".egg-info"):
        return folder.parent not in (source, source / "src")
    is_made = folder.name in _MADE_AT_THE_TOP or folder.name.startswith(".")
    return not is_made or folder.parent != source


def copy(source: Path, scratch: Path) -> Path:
    """Copy the tree ``source`` below ``scratch``, without built files; return the copy.

    :raises CommandError: if git cannot tell what the build asks it
    """
    target = scratch / f"source-{source.name}"
    repository = Repository(source) if asks_git(source) else None
    if repository and repository.top:
        # A project may be in a folder of the repository, which is its parent then.
        target = scratch / f"source-{source.name}" / repository.source.relative_to(repository.top)
    target.mkdir(parents=True)
    for path in files_of(source):
        place = target / path.relative_to(source)
        if path.is_dir():
            place.mkdir()
        else:
            shutil.copy2(path, place)
    if repository and repository.top:
        repository.copy(scratch / f"source-{source.name}")
    return target


def asks_git(source: Path) -> bool:
    """Return whether building ``source`` asks git for its version, or its files."""
    names = {canonicalize_name(_requirement(t).name) for t in build_requirements(source)}
    return not names.isdisjoint(_ASK_GIT)


def build_requirements(source: Path) -> list[str]:
    """Return the requirements of the build of a tree (PEP 518), or those of a classic setup.py.

    :raises CommandError: if its pyproject.toml cannot be read
    """
    stated = pyproject(source).get("build-system", {})
    return list(stated.get("requires", ["setuptools", "wheel"]))


def are_met(requirements: Iterable[str], have: Mapping[str, str]) -> bool:
    """Return whether all ``requirements`` are met by ``have``: name -> version.

    :raises CommandError: if one is no requirement
    """
    for text in requirements:
        wanted = _requirement(text)
        if wanted.marker and not wanted.marker.evaluate():
            continue
        version = have.get(canonicalize_name(wanted.name))
        if wanted.url or wanted.extras or version is None:
            return False
        if not wanted.specifier.contains(version, prereleases=True):
            return False
    return True


def _requirement(text: str) -> Requirement:
    try:
        return Requirement(text)
    except InvalidRequirement as error:
        raise CommandError("cannot build", f"build-system.requires: {error}") from error


class Repository:
    """The git repository that a source tree is in, if it is in one."""

    def __init__(self, source: Path) -> None:
        """:param source: the tree; ``top`` is None where it is in no repository"""
        self.source = source.resolve()
        self.top: Path | None = None
        """The folder of the whole working tree."""
        if any((folder / ".git").exists() for folder in (self.source, *self.source.parents)):
            self.top = Path(self._git("rev-parse", "--show-toplevel").strip())

    def state(self) -> tuple[str, ...]:
        """Return what a version can depend on: commit, branch and tags; empty without any."""
        if not self.top:
            return ()
        for path in self._paths("HEAD", "packed-refs", "refs"):
            # Git reads these files in another process, so the run has to record them as its inputs.
            if path.is_dir():
                list(os.walk(path))
            elif path.is_file():
                path.read_bytes()
        return (self._commit(), self._branch(), self._tags())

    def copy(self, target: Path) -> None:
        """Make ``target``, with a copy of the tree, a repository of the same history.

        It borrows the commits.  What the copy leaves out on purpose counts as unchanged there.
        """
        objects, shallow = self._paths("objects", "shallow")
        _run(target, "init", "--quiet", "--template=", ".")
        git = target / ".git"
        (git / "objects" / "info").mkdir(parents=True, exist_ok=True)
        (git / "objects" / "info" / "alternates").write_text(f"{objects}\n", encoding="utf-8")
        if shallow.exists():
            shutil.copyfile(shallow, git / "shallow")
        lines = [f"create {line}\n" for line in self._tags().splitlines()]
        if commit := self._commit():
            lines.append(f"create refs/heads/{self._branch() or 'detached'} {commit}\n")
        _run(target, "update-ref", "--stdin", text="".join(lines))
        if commit:
            _run(target, "symbolic-ref", "HEAD", f"refs/heads/{self._branch() or 'detached'}")
            _run(target, "read-tree", "HEAD")
            _run(target, "update-index", "-q", "--refresh", may_fail=True)
            self._overlook_left_out(target)

    def _overlook_left_out(self, target: Path) -> None:
        assert self.top
        gone = _run(target, "ls-files", "--deleted", "-z").split("\0")
        there = [name for name in gone if name and os.path.lexists(self.top / name)]
        elsewhere = not self.source.samefile(self.top)
        if elsewhere:
            prefix = f"{self.source.relative_to(self.top).as_posix()}/"
            there += [name for name in gone if name and not name.startswith(prefix)]
        text = "".join(f"{name}\0" for name in dict.fromkeys(there))
        _run(target, "update-index", "-z", "--skip-worktree", "--stdin", text=text)

    def _paths(self, *names: str) -> list[Path]:
        """Return where files of the repository are, which a second working tree shares."""
        words = [word for name in names for word in ("--git-path", name)]
        return [
            Path(line)
            for line in self._git("rev-parse", "--path-format=absolute", *words).splitlines()
        ]

    def _commit(self) -> str:
        return self._git("rev-parse", "--verify", "--quiet", "HEAD", may_fail=True).strip()

    def _branch(self) -> str:
        return self._git("symbolic-ref", "--short", "--quiet", "HEAD", may_fail=True).strip()

    def _tags(self) -> str:
        """Return a line for each tag: ``refs/tags/v1.0 OBJECT``."""
        return self._git("for-each-ref", "--format=%(refname) %(objectname)", "refs/tags")

    def _git(self, *words: str, may_fail: bool = False) -> str:
        return _run(self.source, *words, may_fail=may_fail)


def _run(folder: Path, *words: str, text: str = "", may_fail: bool = False) -> str:
    """Run git in ``folder``, and return what it prints.

    :raises CommandError: with the reason, if it fails
    """
    # A tree of another account is built here as well, which runs its code.
    command: Sequence[str] = ["git", "-c", "safe.directory=*", "-C", os.fspath(folder), *words]
    what = f"cannot build {folder}"
    try:
        finished = subprocess.run(
            command, input=text, capture_output=True, text=True, env=clean_environment()
        )
    except OSError as error:
        advice = "install git, which the build asks for the version (Debian: git)"
        raise CommandError(what, f"git: {reason(error)}", advice) from error
    if finished.returncode and not may_fail:
        raise CommandError(what, f"git: {last_line(finished.stderr)}")
    return finished.stdout
