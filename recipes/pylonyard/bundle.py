"""``bin/pylonyard bundle``: a checkout and all that it needs offline, in one archive.

The same checkout, lock and interpreter give the same archive, byte for byte: its
members are in order, and have no owner, no times and none but two modes.
"""

import gzip
import hashlib
import io
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pylonyard import bundle_cache, bundle_checkout, cache_record, configuration
from pylonyard.errors import UserError
from pylonyard.releases import Releases

TIME = 315619200
"""1980-01-02, in seconds since the epoch: a zip file, as a wheel is one, knows none before."""
LEVEL = 6


@dataclass(frozen=True)
class Member:
    """A file of an archive, or a symbolic link."""

    name: str
    content: bytes | str
    """A text is the target of a link."""
    mode: int = 0o644


def command(directory: Path, file: Path, tell: Callable[[str], object]) -> None:
    """Write the bundle of the sandbox ``directory``.

    :raises UserError: if ``file`` is there, or something that belongs into it is not
    """
    if not file.name.endswith((".tar.gz", ".tgz")):
        raise UserError(f"{file}: expected a name that ends in .tar.gz, got {file.name!r}")
    if os.path.lexists(file):
        how = "name another, or move it elsewhere"
        raise UserError(f"{file}: expected no such file yet, got one; {how}")
    applications = bundle_cache.applications(directory)
    cached = bundle_cache.files(directory, applications)
    locks = sorted({each.lock.path for each in applications})
    stores = cache_record.stores_of(directory)
    tracked = bundle_checkout.files(directory, locks, {stores.cache, stores.eggs})
    top = applications[0].site
    members = [*_of_checkout(directory, tracked, top), *_of_cache(cached, f"{top}/cache/dist")]
    if (made_from := _configuration(directory)) in tracked and made_from != configuration.USUAL:
        memory = configuration.text(made_from).encode()
        members.append(Member(f"{top}/{configuration.MEMORY}", memory))
    with _whole(file) as stream:
        write(stream, members)
    named = " and ".join(path.relative_to(directory).as_posix() for path in locks)
    tell(
        f"{file} holds {len(tracked)} files of the checkout, and {len(cached)} of the cache that "
        f"{named} names, {file.stat().st_size / 1e6:.1f} MB."
    )
    tell(f"Elsewhere: tar -xf {file.name} && cd {top} && python3 bootstrap.py --offline")


def _configuration(directory: Path) -> str:
    """Return what the last run was of: what is unpacked goes on with that."""
    releases = Releases(directory / "releases", directory / "current")
    number = releases.current_number()
    told = "" if number is None else releases.manifest(number).get("configuration")
    return str(told or configuration.USUAL)


def write(stream: IO[bytes], members: Iterable[Member]) -> None:
    """Write an archive whose bytes depend on ``members`` alone."""
    with (
        gzip.GzipFile("", "wb", LEVEL, stream, mtime=0) as packed,
        tarfile.open(mode="w|", fileobj=packed, format=tarfile.PAX_FORMAT) as archive,
    ):
        for member in sorted(members, key=lambda each: each.name):
            described = tarfile.TarInfo(member.name)
            described.mtime, described.mode = TIME, member.mode
            if isinstance(member.content, str):
                described.type, described.linkname = tarfile.SYMTYPE, member.content
                archive.addfile(described)
            else:
                described.size = len(member.content)
                archive.addfile(described, io.BytesIO(member.content))


def _of_checkout(directory: Path, names: Iterable[str], top: str) -> Iterator[Member]:
    for name in names:
        path = directory / name
        if path.is_symlink():
            yield Member(f"{top}/{name}", os.readlink(path), 0o777)
        else:
            is_program = path.stat().st_mode & 0o100
            yield Member(f"{top}/{name}", path.read_bytes(), 0o755 if is_program else 0o644)


def _of_cache(cached: Mapping[Path, set[str]], folder: str) -> Iterator[Member]:
    """Yield the files of the cache, verified.

    :raises UserError: naming all that are not what was recorded of them
    """
    differing = []
    for path, digests in cached.items():
        content = path.read_bytes()
        if (digest := hashlib.sha256(content).hexdigest()) not in digests:
            differing.append(f"{path} has SHA-256 {digest}")
        yield Member(f"{folder}/{path.name}", content)
    if differing:
        raise UserError(
            f"expected files as the lock has them, got others: {', '.join(differing)}; move "
            "them elsewhere, and run this again"
        )


@contextmanager
def _whole(file: Path) -> Iterator[IO[bytes]]:
    """Give a stream whose content becomes ``file`` at the end, if nothing fails.

    :raises OSError: naming ``file``, if it cannot be written
    """
    draft = None
    try:
        descriptor, draft = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
        with open(descriptor, "wb") as stream:
            yield stream
            os.fchmod(stream.fileno(), 0o644)
        os.replace(draft, file)
    except BaseException as error:
        if draft:
            os.unlink(draft)
        if isinstance(error, OSError):
            error.filename = str(file)
        raise
