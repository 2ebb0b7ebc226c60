"""Record the inputs of a run (files and environment variables), and compare them by digest.

Python's audit events tell which files are opened and which folders are listed.  What an
option names, and the trees that a run answers for, count as well.  Standard library only.
"""

import hashlib
import os
import stat
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

MEMORY = Path(".pylonyard", "settled.json")

PLAIN = {"-c", "-N", "-o"}
"""The options of ``buildout`` with which a run may be skipped."""

VARIABLES = frozenset({"BUILDOUT_HOME", "HOME", "PYTHONHOME", "PYTHONPATH", "TMPDIR"})
"""Environment variables that are inputs of every run; a run notes more of them."""

CLOCK_LAG = 5_000_000
"""How far, in ns, the clock of a file system may be behind ours: a tick of the kernel."""

_MISSING = "none"


def run_digest(words: Sequence[str], names: Iterable[str]) -> str:
    """Return a digest of everything but files in which two runs may differ.

    :param names: the variables of the environment that matter
    """
    variables = [(name, os.environ.get(name)) for name in sorted(names)]
    account = (os.geteuid(), os.getegid(), sorted(os.getgroups()))
    program = (os.path.realpath(sys.argv[0]), sys.executable, sys.version)
    how = (program, list(words), os.getcwd(), account, variables)
    return hashlib.sha256(repr(how).encode(errors="surrogateescape")).hexdigest()


def is_plain(words: Sequence[str]) -> bool:
    """Return whether a command line only names a configuration, and sets options."""
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "-c" and left:
            left.pop(0)
        elif word not in PLAIN and (word.startswith("-") or "=" not in word):
            return False
    return True


def state_digest(paths: Iterable[str], trees: Iterable[str], places: Iterable[str] = ()) -> str:
    """Return a digest of the states of ``paths``, and of all files below ``trees``.

    :param places: paths of which only kind, mode and owner count
    """
    digest = hashlib.sha256()
    for path in paths:
        digest.update(repr((path, _state(path))).encode(errors="surrogateescape"))
    for tree in trees:
        digest.update(repr((tree, _tree(tree))).encode(errors="surrogateescape"))
    for place in places:
        digest.update(repr((place, _kind(place))).encode(errors="surrogateescape"))
    return digest.hexdigest()


def _state(path: str) -> object:
    """Return a text that changes when a file, a link or a folder changes."""
    try:
        own = os.lstat(path)
        if stat.S_ISDIR(own.st_mode):
            return own.st_mode, sorted(n for n in os.listdir(path) if not _is_temporary(n))
        led = os.stat(path) if stat.S_ISLNK(own.st_mode) else own
        if stat.S_ISDIR(led.st_mode):
            return os.readlink(path), sorted(n for n in os.listdir(path) if not _is_temporary(n))
        return [(s.st_mode, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for s in (own, led)]
    except OSError:
        return _MISSING


def _kind(path: str) -> object:
    try:
        own = os.lstat(path)
    except OSError:
        return _MISSING
    return own.st_mode, own.st_uid, own.st_gid


def _is_temporary(name: str) -> bool:
    """Return whether a file of this name is temporary and can be ignored."""
    return name in ("__pycache__", MEMORY.name) or name.startswith(".")


def _tree(tree: str) -> str:
    try:
        return tree_digest(Path(tree))
    except OSError:
        return _MISSING


def tree_digest(tree: Path) -> str:
    """Return a digest of the names and states of all files in ``tree``.

    Nobody but root can change a file and have its ``ctime`` look unchanged.
    """
    digest = hashlib.sha256()
    folders = [os.fspath(tree)]
    while folders:
        with os.scandir(folders.pop()) as listed:
            entries = sorted(listed, key=lambda entry: entry.name)
        for entry in entries:
            s = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(s.st_mode):
                folders.append(entry.path)
            state = (entry.path, s.st_mode, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino)
            digest.update(repr(state).encode(errors="surrogateescape"))
    return digest.hexdigest()


class Watch:
    """The inputs of a run: all that it opens, lists and starts, since its start."""

    def __init__(self) -> None:
        self.began = time.time_ns() - CLOCK_LAG
        self.seen: set[str] = set()
        self.variables = set(VARIABLES)
        self.messages: list[str] = []
        self.next: dict[str, object] = {}
        """Data for ``next_steps``."""
        self.warned = False
        self.used: dict[str, object] = {}
        """The states of files as they were when their contents were read, such as secrets."""

    def note_file(self, path: str | Path, *, written: bool = False) -> None:
        """Record the state of a file whose content is about to be read.

        It counts wherever it is. A file that has changed only just now, by its own clock, may
        change again and look the same: then nothing is known.

        :param written: whether the run itself has just written it
        """
        name = os.path.abspath(path)
        self.used[name] = _state(name)
        if not written and self._changed_since(name, time.time_ns() - CLOCK_LAG):
            self.used[name] = "unknown"

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Record an event of :func:`sys.addaudithook`."""
        if event not in _EVENTS or not arguments:
            return
        if event == "open" and _writes(*arguments[1:3]):
            return
        path = arguments[0]
        if path is None:
            path = "."
        if isinstance(path, str | bytes | os.PathLike):
            name = os.fsdecode(path)
            if event == "subprocess.Popen" and "/" not in name:
                return  # Looked for in folders that are watched.
            if f"{name}/".startswith("/proc/"):
                return  # Each run checks by itself what runs.
            self.seen.add(os.path.abspath(name))

    def note_paths(self, values: Iterable[object]) -> None:
        """Record the paths in values of options: the run may only have checked that they exist."""
        for value in values:
            if isinstance(value, Path):
                self.seen.add(os.fspath(value))
            elif isinstance(value, tuple):
                self.note_paths(value)

    def memory(
        self,
        words: Sequence[str],
        ours: Sequence[Path],
        trees: Sequence[Path],
        served: Sequence[Path] = (),
    ) -> dict[str, object] | None:
        """Return the record for the next run to compare; none if it would prove nothing.

        :param words: the arguments of ``bin/buildout``
        :param ours: files, and folders, that runs write: what changes there in a run
            is that run's own doing
        :param trees: those of them that are compared with all that is in them
        :param served: folders in which a site writes while it serves: what it has written
            there is no reason for a run
        """
        if self.warned or not self.messages or not is_plain(words):
            return None
        if any(_state(path) != held for path, held in self.used.items()):
            return None
        inside = tuple(f"{tree}/" for tree in map(os.fspath, trees))
        paths = {source for path in self.seen if (source := _source(path))}
        paths = {path for path in paths if not path.startswith(inside)}
        writing = tuple(f"{folder}/" for folder in map(os.fspath, served))
        places = {path for path in paths if f"{path}/".startswith(writing)} - self.used.keys()
        paths = {*paths, *self.used} - places
        # Who may enter the folders above decides what the site's account can reach.
        places |= {os.fspath(parent) for tree in trees for parent in Path(tree).parents}
        written = tuple(f"{path}/" for path in map(os.fspath, ours))
        read = (path for path in paths if not f"{path}/".startswith(written))
        if any(self._changed_since(path, self.began) for path in read):
            return None
        watched, whole, kinds = sorted(paths), sorted(map(os.fspath, trees)), sorted(places)
        return {
            "called": run_digest(words, self.variables),
            "variables": sorted(self.variables),
            "paths": watched,
            "trees": whole,
            "places": kinds,
            "state": state_digest(watched, whole, kinds),
            "told": self.messages,
            "next": self.next,
        }

    def _changed_since(self, path: str, moment: int) -> bool:
        """Return whether a file may have changed since a moment, in ns: after it was read, say."""
        try:
            status = os.stat(path)
        except OSError:
            return False
        return stat.S_ISREG(status.st_mode) and status.st_ctime_ns >= moment


_EVENTS = frozenset({"open", "os.listdir", "os.scandir", "subprocess.Popen"})


def _writes(mode: str | None, flags: int) -> bool:
    if mode is None:
        return flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) != 0
    return not {"w", "a", "x", "+"}.isdisjoint(mode)


def _source(path: str) -> str:
    """Return the file whose bytecode ``path`` is, or ``path`` itself; '' of what has none.

    Templates have bytecode there as well, but are opened to see whether it is theirs.
    """
    folder, name = os.path.split(path)
    if os.path.basename(folder) != "__pycache__":
        return path
    own = name.endswith(".pyc")
    return os.path.join(os.path.dirname(folder), name.partition(".")[0] + ".py") if own else ""


def _note_warnings(watch: Watch) -> None:
    """Record that there was a warning, since the next run should give it again."""
    # Imported here: a run with nothing to do has no use for it.
    import logging

    class Warned(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            watch.warned = True

    logging.getLogger().addHandler(Warned(logging.WARNING))


def begin() -> Watch:
    """Start recording the inputs of this run; return the record."""
    watch = Watch()
    sys.addaudithook(watch.hook)
    _note_warnings(watch)
    return watch
