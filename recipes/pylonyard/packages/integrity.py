"""Verify that eggs have exactly the files of a wheel with a known SHA-256.

An egg is compared with its wheel once, file by file, and its bytecode is compiled
again, since that is what Python runs.  Then a signature of the whole tree is kept,
so that the next check takes one ``stat`` for each file.  The signatures are in the
cache, in a file of each account that no other account can write.

Standard library only: ``bin/buildout`` asks this before it imports anything else.
"""

import hashlib
import json
import marshal
import os
import re
import sys
import time
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path

from pylonyard.config.inputs import tree_digest
from pylonyard.packages import wheels
from pylonyard.packages.wheels import WheelError, egg_name, sha256
from pylonyard.system import atomic, safe_files
from pylonyard.system.errors import PylonyardError
from pylonyard.system.safe_files import open_plainly, path_digest


class RefusedError(WheelError):
    """A file differs from its record; it was put into quarantine, if possible."""

    def __init__(self, path: Path, expected: str, got: str, aside: Path | None) -> None:
        kept = f"moved to {aside}" if aside else "it stays, since we may not move it"
        super().__init__(f"{path}: expected {expected}, got {got}; {kept}")
        self.path = path
        self.aside = aside


def quarantine(path: Path, cache: Path) -> Path | None:
    """Move ``path`` to quarantine, where no program uses it; return its new path.

    None if it cannot be moved, as in a read-only cache.
    """
    refused = cache / "refused"
    if not can_quarantine(path, cache):
        return None
    refused.mkdir(parents=True, exist_ok=True)
    place = refused / f"{path.name}.{time.strftime('%Y%m%dT%H%M%S')}.{os.getpid()}"
    number = 0
    while place.exists():
        number += 1
        place = place.with_name(f"{place.name}.{number}")
    path.rename(place)
    return place


def can_quarantine(path: Path, cache: Path) -> bool:
    return os.access(path.parent, os.W_OK) and os.access(cache, os.W_OK)


def check_file(path: Path, digests: Collection[str], cache: Path) -> str:
    """Check that the SHA-256 of a file is one of ``digests``; return it.

    :raises RefusedError: if it is not; the file has been moved to quarantine
    """
    digest = sha256(path)
    if digest not in digests:
        wanted = " or ".join(sorted(digests)) if len(digests) < 3 else "one of those recorded"
        raise RefusedError(path, f"SHA-256 {wanted}", digest, quarantine(path, cache))
    return digest


def difference(wheel: Path, egg: Path) -> tuple[Path, str, str] | None:
    """Return the first file of ``egg`` that differs from ``wheel``: file, expected, got."""
    info = _info_of_stock(egg)
    expected = {info / name for name in _PIPS_OWN} if info else set()
    with zipfile.ZipFile(wheel) as archive:
        for item in archive.infolist():
            if item.is_dir():
                continue
            path = egg / wheels.member_path(item.filename)
            if info and path.parts[len(egg.parts)].endswith(".dist-info"):
                path = info.joinpath(*path.parts[len(info.parts) :])
                if path in expected or path.parent == info / "scripts":
                    continue
            expected.add(path)
            if not path.is_file() or path.is_symlink():
                return path, f"a file of {wheel.name}", "none"
            if path.read_bytes() != archive.read(item):
                return path, f"what {wheel.name} holds", "other content"
    for path in _files(egg):
        if info and path.parent == egg / "bin":
            continue  # a script of pip's, in a folder that no Python imports from
        if path not in expected and not _is_bytecode(path, expected):
            return path, f"a file of {wheel.name}", "one that it lacks"
    return None


_PIPS_OWN = ("INSTALLER", "RECORD", "REQUESTED", "direct_url.json")
"""Files in the metadata of an egg that pip writes, about how it was installed."""


def _info_of_stock(egg: Path) -> Path | None:
    """Return the metadata of an egg that pip unpacked for a stock zc.buildout; None if we did.

    It is in a folder of the egg's name, not in that of the wheel.
    """
    info = egg / f"{egg.name.removesuffix('.egg')}.dist-info"
    return info if info.is_dir() else None


def _files(tree: Path) -> Iterable[Path]:
    for folder, folders, names in os.walk(tree):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        yield from (Path(folder, name) for name in sorted([*names, *links]))


BYTECODE = re.compile(r".+\.pyc(\.\d+)?")
"""Bytecode; with a number, a temporary file of Python, which it never reads."""


def _is_bytecode(path: Path, sources: Collection[Path]) -> bool:
    """Return whether a file is the bytecode of a source beside it."""
    named = BYTECODE.fullmatch(path.name)
    if path.parent.name != "__pycache__" or not named or path.is_symlink():
        return False
    return path.parent.parent / (path.name.partition(".")[0] + ".py") in sources


def check_bytecode(egg: Path) -> None:
    """Check that the bytecode of an egg, which we cannot replace, matches its sources.

    :raises WheelError: naming the first file that does not
    """
    for path in sorted(egg.rglob("__pycache__/*.pyc")):
        source = path.parent.parent / (path.name.partition(".")[0] + ".py")
        if not path.name.endswith(f".{sys.implementation.cache_tag}.pyc"):
            continue  # Another interpreter's; this one never reads it.
        try:
            held = marshal.loads(path.read_bytes()[16:])
            is_same = bool(held == compile(source.read_bytes(), held.co_filename, "exec"))
        except Exception as error:
            raise WheelError(f"{path}: expected bytecode, got none: {error}") from error
        if not is_same:
            raise WheelError(f"{path}: expected the bytecode of {source.name}, got other")


class Verified:
    """The record of verified eggs and files, which were not changed since."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self._files = [cache / "verified" / f"{os.geteuid()}.json", _own_file(cache)]
        self._known = self._read()

    def unchanged(self, egg: Path, digests: Collection[str]) -> bool:
        """Return whether ``egg`` is as it was when found equal to a wheel of ``digests``."""
        entry = self._known.get(os.fspath(egg))
        if entry is None or entry["wheel"] not in digests:
            return False
        try:
            return entry["signature"] == tree_digest(egg)
        except OSError:
            return False

    def install(self, wheel: Path, eggs: Path, digests: Collection[str]) -> Path:
        """Return the egg of ``wheel`` in ``eggs``; install or verify it if needed.

        An egg that differs is moved to quarantine, and a good one put in its place for the
        releases that use it.

        :param digests: the SHA-256 digests that the wheel may have
        :raises RefusedError: naming the wheel or the egg's file that is not as it should be
        :raises WheelError: if the wheel is damaged
        """
        return self.install_all({wheel: digests}, eggs)[0]

    def install_all(self, wanted: Mapping[Path, Collection[str]], eggs: Path) -> list[Path]:
        """Return the eggs of wheels in ``eggs``, as :meth:`install` does for each.

        :param wanted: for each wheel the SHA-256 digests that it may have
        """
        made = {wheel: eggs / egg_name(wheel) for wheel in wanted}
        new = [wheel for wheel, egg in made.items() if not os.path.lexists(egg)]
        ours = self._install_new({wheel: wanted[wheel] for wheel in new}, eggs) if new else ()
        for wheel, egg in made.items():
            if wheel not in ours and not self.unchanged(egg, wanted[wheel]):
                self.verify(wheel, egg, wanted[wheel])
        return list(made.values())

    def _install_new(self, wanted: Mapping[Path, Collection[str]], eggs: Path) -> Collection[Path]:
        digests = {wheel: check_file(wheel, wanted[wheel], self.cache) for wheel in wanted}
        ours = wheels.install_all({wheel: {digest} for wheel, digest in digests.items()}, eggs)
        made = {eggs / egg_name(wheel): digests[wheel] for wheel in ours}
        self._note({egg: (digest, tree_digest(egg)) for egg, digest in made.items()})
        return ours

    def verify(self, wheel: Path, egg: Path, digests: Collection[str]) -> None:
        """Check that ``egg`` has the files of ``wheel``; compile its bytecode again.

        :raises RefusedError: naming a file that differs; a good egg is in its place
        """
        digest = check_file(wheel, digests, self.cache)
        self._compare(wheel, egg)
        if os.access(egg, os.W_OK) and not _info_of_stock(egg):
            wheels.recompile(egg)
        else:
            check_bytecode(egg)
        self.note(egg, digest)

    def _compare(self, wheel: Path, egg: Path) -> None:
        try:
            found = difference(wheel, egg)
        except (OSError, zipfile.BadZipFile, ValueError) as error:
            raise WheelError(f"{wheel}: cannot compare it with {egg}: {error}") from error
        if found is None:
            return
        if _info_of_stock(egg) or not can_quarantine(egg, self.cache):
            # Other buildouts may use what a stock one has unpacked.
            raise RefusedError(*found, None)
        with atomic.draft(egg.parent) as folder:
            draft = folder / egg.name
            wheels.unpack(wheel, draft)
            aside = quarantine(egg, self.cache)
            atomic.publish(draft, egg)
        self.note(egg, sha256(wheel))
        raise RefusedError(*found, aside)

    def has(self, tree: Path, digest: str) -> bool:
        """Return whether ``tree`` was recorded under ``digest``."""
        return self._known.get(os.fspath(tree), {}).get("wheel") == digest

    def is_built(self, path: Path, source: str) -> bool:
        """Return whether ``path`` is the file that was built here of ``source``, a SHA-256.

        :raises RefusedError: if it was changed since; it has been moved to quarantine
        """
        entry = self._known.get(os.fspath(path))
        if entry is None or entry["wheel"] != source:
            return False
        return bool(check_file(path, {entry["signature"]}, self.cache))

    def note_built(self, path: Path, source: str) -> None:
        """Record that the file ``path``, as it is now, was built here from ``source``."""
        self._note({path: (source, sha256(path))})

    def note(self, tree: Path, digest: str) -> None:
        """Record that ``tree``, as it is now, has the contents with ``digest``."""
        self._note({tree: (digest, tree_digest(tree))})

    def note_tree(self, tree: Path) -> None:
        """Record the digests of all files in ``tree``, which has no wheel to compare with."""
        content = json.dumps(_digests(tree)).encode()
        atomic.write(self._list_of(tree), content, 0o600)
        self.note(tree, hashlib.sha256(content).hexdigest())

    def check_tree(self, tree: Path, compile_anew: Callable[[Path], object]) -> bool:
        """Return whether ``tree`` is as it was recorded; False without a record.

        :param compile_anew: replaces the bytecode, if the tree was touched but no file differs
        :raises RefusedError: naming a file that differs; the tree has been moved to quarantine
        """
        try:
            content = self._list_of(tree).read_bytes()
        except OSError:
            return False
        digest = hashlib.sha256(content).hexdigest()
        if self.unchanged(tree, {digest}):
            return True
        # The digest of the list is in a file that nobody else can write.
        if not self.has(tree, digest):
            return False
        expected, got = safe_files.json_object(content), _digests(tree)
        for name in sorted({*expected, *got}):
            if expected.get(name) != got.get(name):
                wanted, found = expected.get(name, "no such file"), got.get(name, "none")
                raise RefusedError(tree / name, wanted, found, quarantine(tree, self.cache))
        compile_anew(tree)
        self.note_tree(tree)
        return True

    def _list_of(self, tree: Path) -> Path:
        return self.cache / "verified" / f"{os.geteuid()}-{tree.name}.json"

    def _note(self, states: Mapping[Path, tuple[str, str]]) -> None:
        new = {os.fspath(path): {"wheel": d, "signature": s} for path, (d, s) in states.items()}
        # Another run may have noted something in the meantime.
        self._known = {**self._read(), **new}
        for file in self._files:
            try:
                atomic.write(file, json.dumps(self._known).encode(), 0o600, durable=False)
                return
            except OSError as error:
                # Of a cache that it only reads, an account takes notes at home, if at all.
                if error.errno not in atomic.UNWRITABLE or os.access(file.parent, os.W_OK):
                    raise

    def _read(self) -> dict[str, dict[str, str]]:
        """Return the record; empty if another account could have written it."""
        known: dict[str, dict[str, str]] = {}
        for file in reversed(self._files):
            known |= _read(file)
        return known


def _digests(tree: Path) -> dict[str, str]:
    """Return all files without bytecode: path -> SHA-256, or the target of a link."""
    compiled, held = set(bytecode_of(tree)), {}
    for path in atomic.files_below(tree):
        if path not in compiled:
            what = f"a link to {os.readlink(path)}" if path.is_symlink() else ""
            name = path.relative_to(tree).as_posix()
            held[name] = what or f"SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()}"
    return held


def bytecode_of(tree: Path) -> Iterator[Path]:
    """Yield the bytecode in a tree, of any Python, that has its source beside it."""
    for path in list(atomic.files_below(tree)):
        if path.suffix in (".pyc", ".pyo") and _source_of(path).is_file():
            yield path


def _source_of(path: Path) -> Path:
    if path.parent.name == "__pycache__":
        return path.parent.parent / f"{path.name.partition('.')[0]}.py"
    return path.with_suffix(".py")


def _own_file(cache: Path) -> Path:
    """Return the JSON file with an account's records on a cache that it cannot write."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home, "pylonyard", f"verified-{os.geteuid()}-{path_digest(cache)}.json")


def _read(file: Path) -> dict[str, dict[str, str]]:
    try:
        with open(open_plainly(file, os.O_RDONLY, 0), "rb") as stream:
            status = os.fstat(stream.fileno())
            if status.st_uid != os.geteuid() or status.st_mode & 0o022:
                return {}
            return safe_files.json_object(stream.read())
    except (OSError, PylonyardError):
        return {}
