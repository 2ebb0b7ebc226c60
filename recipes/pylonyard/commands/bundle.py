"""Run ``bin/pylonyard bundle``: pack a checkout or a project, and all that it needs offline.

The same checkout, lock and interpreter give the same archive, byte for byte: its members
are sorted, and have no owner, a fixed time and one of two modes.
"""

import errno
import gzip
import hashlib
import io
import os
import shlex
import tarfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pylonyard.buildout import installed_cfg
from pylonyard.buildout.installed_cfg import Sections
from pylonyard.commands import checkout_files
from pylonyard.config import configuration
from pylonyard.config.layout import Layout
from pylonyard.environments import cache_usage, scripts, tools
from pylonyard.packages import interpreters, source_trees, wheels
from pylonyard.packages.index import Places
from pylonyard.packages.interpreters import Interpreter, describe, find
from pylonyard.packages.lock import pylock
from pylonyard.packages.lock.files import Target
from pylonyard.packages.lock.pylock import Lock
from pylonyard.packages.missing import Missing, Shelf, options
from pylonyard.packages.mod_wsgi_sources import PROJECT
from pylonyard.releases.store import Releases
from pylonyard.system import atomic, relocation
from pylonyard.system.errors import UserError

MEMBER_TIME = 315619200
"""1980-01-02, in seconds since 1970: a zip file, such as a wheel, has no earlier time."""
COMPRESSION_LEVEL = 6


@dataclass(frozen=True)
class Member:
    """A file of an archive, or a symbolic link."""

    name: str
    content: bytes | str | Path
    """A path is the file that has it; a str is the target of a link."""
    mode: int = 0o644
    digests: Collection[str] = ()
    """SHA-256 digests, one of which the file must have; none: any."""


def command(directory: Path, file: Path, tell: Callable[[str], object]) -> None:
    """Write the bundle of the sandbox ``directory``.

    :raises UserError: if ``file`` exists, or something that belongs in it is missing
    """
    if not file.name.endswith((".tar.gz", ".tgz")):
        raise UserError(f"{file}: expected a name that ends in .tar.gz, got {file.name!r}")
    if os.path.lexists(file):
        how = "name another, or move it elsewhere"
        raise UserError(f"{file}: expected no such file yet, got one; {how}")
    if not file.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(file))
    sections = recorded(directory)
    applications = bundled_applications(directory, sections)
    cached = cached_files(directory, applications, with_module=_has_module(sections))
    locks = sorted({each.lock.path for each in applications})
    stores = cache_usage.stores_of(directory)
    tracked = checkout_files.list_files(directory, locks, {stores.cache, stores.eggs})
    checkout_files.expect_inputs(directory, tracked, sections, {stores.cache, stores.eggs})
    made_from, top = _configuration(directory), applications[0].site
    steps = _steps(directory, tracked, made_from)
    members = [
        *_checkout_members(directory, tracked, top),
        *_cache_members(cached, f"{top}/cache/dist"),
    ]
    if made_from in tracked and made_from != configuration.USUAL:
        memory = configuration.text(made_from).encode()
        members.append(Member(f"{top}/{configuration.MEMORY}", memory))
    with atomic.writing(file, durable=False) as stream:
        write(stream, members)
    named = " and ".join(path.relative_to(directory).as_posix() for path in locks)
    tell(
        f"{file} holds {len(tracked)} files of the checkout, and {len(cached)} of the cache that "
        f"{named} names, {file.stat().st_size / 1e6:.1f} MB."
    )
    tell(f"Elsewhere: tar -xf {file.name} && cd {top} && {steps}")


def _steps(directory: Path, tracked: Collection[str], made_from: str) -> str:
    """Return the commands with which an unpacked bundle is deployed.

    :raises UserError: if it uses a checkout of Pylonyard that is not in it
    """
    if not (bootstrap := relocation.bootstrap_of(directory)):
        named = "" if made_from == configuration.USUAL else f" -c {shlex.quote(made_from)}"
        return f"{_ENVIRONMENT} && env/bin/buildout -o{named}"
    if os.path.relpath(bootstrap, directory) not in tracked:
        raise UserError(
            f"{directory}: expected its Pylonyard among its files, got {bootstrap.parent}; "
            "add that to the project, as a submodule say, and deploy with it"
        )
    return f"{relocation.bootstrap_command(directory)} --offline"


_ENVIRONMENT = (
    "python3 -m venv env && "
    "env/bin/pip install --no-index --find-links cache/dist zc.buildout pylonyard"
)
"""The commands that install buildout from the cache, where it is no checkout of ours."""


def _configuration(directory: Path) -> str:
    """Return the configuration of the current release; the unpacked checkout uses it too."""
    releases = Releases(directory / "releases", directory / "current")
    number = releases.current_number()
    configured = "" if number is None else releases.manifest(number).get("configuration")
    return str(configured or configuration.USUAL)


def write(stream: IO[bytes], members: Iterable[Member]) -> None:
    """Write an archive; its bytes depend on ``members`` only.

    :raises UserError: if a file changes meanwhile
    """
    with (
        gzip.GzipFile("", "wb", COMPRESSION_LEVEL, stream, mtime=0) as packed,
        tarfile.open(mode="w|", fileobj=packed, format=tarfile.PAX_FORMAT) as archive,
    ):
        for member in sorted(members, key=lambda each: each.name):
            described = tarfile.TarInfo(member.name)
            described.mtime, described.mode = MEMBER_TIME, member.mode
            if isinstance(member.content, str):
                described.type, described.linkname = tarfile.SYMTYPE, member.content
                archive.addfile(described)
            elif isinstance(member.content, bytes):
                described.size = len(member.content)
                archive.addfile(described, io.BytesIO(member.content))
            else:
                _add_file(archive, described, member.content, member.digests)


def _add_file(
    archive: tarfile.TarFile, described: tarfile.TarInfo, path: Path, digests: Collection[str]
) -> None:
    """Add a file that is read once, a piece at a time: it may be larger than the memory."""
    with path.open("rb") as stream:
        described.size = os.fstat(stream.fileno()).st_size
        source = _Digested(stream)
        try:
            archive.addfile(described, source)
        except OSError as error:
            if error.errno is not None:
                raise
            raise _changed(path) from error  # It is shorter now.
    if digests and source.digest.hexdigest() not in digests:
        raise _changed(path)


def _changed(path: Path) -> UserError:
    return UserError(f"{path}: expected it to stay as it is, but it was changed; run this again")


class _Digested(io.RawIOBase):
    """A file with the SHA-256 of what was read from it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        block = self.stream.read(size)
        self.digest.update(block)
        return block


def _checkout_members(directory: Path, names: Iterable[str], top: str) -> Iterator[Member]:
    for name in names:
        path = directory / name
        if path.is_symlink():
            yield Member(f"{top}/{name}", os.readlink(path), 0o777)
        else:
            is_program = path.stat().st_mode & 0o100
            yield Member(f"{top}/{name}", path, 0o755 if is_program else 0o644)


def _cache_members(cached: Mapping[Path, set[str]], folder: str) -> Iterator[Member]:
    """Yield the files of the cache, verified.

    :raises UserError: naming all files without a recorded digest
    """
    differing = []
    for path, digests in cached.items():
        if (digest := wheels.sha256(path)) not in digests:
            differing.append(f"{path} has SHA-256 {digest}")
        yield Member(f"{folder}/{path.name}", path, digests=digests)
    if differing:
        raise UserError(
            f"expected files as the lock has them, got others: {', '.join(differing)}; move "
            "them elsewhere, and run this again"
        )


# The files of the cache: those that the locks of the last run name.


RECIPE = "pylonyard:pylons_app"
MODULE_RECIPE = "pylonyard:mod_wsgi_build"


@dataclass(frozen=True)
class Application:
    """A section that installs an application, as in the last run."""

    site: str
    lock: Lock
    target: Target
    places: Places


def recorded(directory: Path) -> Sections:
    """Return the sections of the record of the last run.

    :raises UserError: if there is none
    """
    try:
        return installed_cfg.parsed((directory / ".installed.cfg").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{directory}: expected a sandbox in which bin/buildout has run, got none: {error}"
        ) from error


def _has_module(sections: Sections) -> bool:
    """Return whether a site is served by mod_wsgi, which is compiled from its source then."""
    built = [each for each in sections.values() if each.get("recipe") == MODULE_RECIPE]
    return any(section.get("mode", "proxy") != "proxy" for section in built)


def bundled_applications(directory: Path, sections: Sections) -> list[Application]:
    """Return the applications of the last run.

    :raises UserError: if there is none, or one has no lock in the checkout
    """
    found = [
        _application(directory, name, section)
        for name, section in sections.items()
        if section.get("recipe") == RECIPE
    ]
    if not found:
        raise UserError(f"{directory}: expected a part with {RECIPE}, got none")
    return found


def _application(directory: Path, name: str, section: Mapping[str, str]) -> Application:
    stated = section.get("lock", "")
    path = directory / (stated or "profiles/pylock.toml")
    if not stated or not path.is_file():
        command = "bin/pylonyard lock" + (f" --file {stated}" if stated else "")
        naming = "" if stated else f", name it in [{name}] as lock = profiles/pylock.toml"
        raise UserError(
            f"[{name}] lock: expected a lock, got none; make one: {command}{naming}, and run "
            "bin/buildout again"
        )
    for tree in filter(None, map(str.strip, section.get("sources", "").split("\n"))):
        if source_trees.asks_git(directory / tree):
            raise UserError(
                f"[{name}] sources: expected trees that say their version, got {tree}, which asks "
                "git, and a bundle holds no .git; instead, name the folder of a wheel of it in "
                "find-links"
            )
    if not path.resolve().is_relative_to(directory.resolve()):
        raise UserError(f"[{name}] lock: expected a file of the checkout, got {stated}")
    try:
        base = find(section["python"]) if section.get("python") else _own_interpreter()
        lock = pylock.read(path)
    except (ValueError, pylock.LockError) as error:
        raise UserError(f"[{name}] {error}") from error
    target = Target.of(base, section.get("without-setup-requires", "").split())
    places = Places(tuple(section.get("find-links", "").split()), section.get("index") or None)
    return Application(section["name"], lock, target, places)


def _own_interpreter() -> Interpreter:
    return describe(interpreters.interpreter())


def _tools(directory: Path) -> Iterator[tuple[str, str, set[str]]]:
    """Yield name, version and SHA-256 digests of what buildout runs on.

    No digest is recorded where zc.buildout was not installed by ``bootstrap.py``.
    """
    if bootstrap := relocation.bootstrap_of(directory):
        yield from tools.requirements(bootstrap.parent / "profiles" / "tools.txt")
        return
    for each in scripts.own_distributions():
        yield each.project_name, each.version, set()


def cached_files(
    directory: Path, found: Sequence[Application], *, with_module: bool
) -> dict[Path, set[str]]:
    """Return the files of the cache that a run of ``found`` needs, with their SHA-256 digests.

    :param with_module: whether the source of mod_wsgi is one of them
    :raises UserError: naming all missing files, and the command that fetches them
    """
    stores = cache_usage.stores_of(directory)
    layout = Layout(directory, directory / "parts", directory / "bin", stores.eggs, stores.cache)
    own = Target.of(_own_interpreter())
    wanted: dict[str, set[str]] = {}
    for application in found:
        for target in (own, application.target):
            for package, name in target.files(application.lock):
                if package.name == canonicalize_name(PROJECT) and not with_module:
                    continue
                wanted.setdefault(name, set()).add(package.files[name])
    lacking = Missing({n: None for n in sorted(wanted) if not (layout.dist / n).exists()})
    shelf = Shelf(layout.dist, own.tags)
    for name, version, digests in _tools(directory):
        if any(held & digests and file.endswith(".whl") for file, held in wanted.items()):
            continue
        if place := shelf.find(Requirement(name), version):
            wanted.setdefault(place.name, digests or {wheels.sha256(place)})
        else:
            lacking.surely[f"{name}=={version}"] = None
    if lacking:
        words = [word for each in found for word in options(layout, each.places, each.lock.path)]
        raise UserError(lacking.message(layout, list(dict.fromkeys(words))))
    return {layout.dist / name: digests for name, digests in sorted(wanted.items())}
