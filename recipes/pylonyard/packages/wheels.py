"""Install wheels as egg directories, without pip; standard library only.

``bootstrap.py`` imports this before anything is installed, so nothing but the
standard library may be imported here.  The layout is that of zc.buildout 6:
one directory for each distribution, with its packages and its ``.dist-info``.
"""

import base64
import contextlib
import csv
import fcntl
import gc
import hashlib
import io
import os
import py_compile
import re
import struct
import sys
import sysconfig
import termios
import warnings
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import IO, TypeVar

from pylonyard.system import atomic
from pylonyard.system.errors import PylonyardError

# Work that the processors of this machine share; standard library only.
#
# The processes are forks that live for one piece of work: they take numbers from a pipe
# until it is empty, or the process that started them is gone.  So a killed run leaves
# none that goes on, and the locks that it held are held until the last has ended.


Item = TypeVar("Item")

_NUMBER = struct.Struct("I")
_MOST = 4096
"""Number of item numbers that fit into a pipe."""


Progress = Callable[[int], object]
"""Called by the main process with the number of items that were begun."""


def share_work(
    work: Callable[[Item], object],
    items: Sequence[Item],
    *,
    few: int = 1,
    done: Progress = lambda begun: None,
) -> None:
    """Call ``work`` with each item; the first are begun first.

    An item that fails in another process is done again in this one, so that the error is
    raised here: it must do no harm to do an item twice.

    :param few: up to so many items are not worth another process
    """
    hands = min(len(os.sched_getaffinity(0)), len(items))
    if hands < 2 or len(items) <= few or not _share(work, items, hands, done):
        for number, item in enumerate(items):
            done(number)
            work(item)


def _share(
    work: Callable[[Item], object], items: Sequence[Item], hands: int, done: Progress
) -> bool:
    """Do the work in ``hands`` processes, including this one; return whether it is done."""
    count = min(len(items), _MOST)
    numbers, filled = os.pipe()
    os.write(filled, b"".join(map(_NUMBER.pack, range(count))))
    os.close(filled)

    def taken() -> Iterator[Item]:
        while number := os.read(numbers, _NUMBER.size):
            yield from items[_NUMBER.unpack(number)[0] :: count]

    children: list[int] = []
    collects = gc.isenabled()
    gc.disable()  # It would walk through all that this process has, in each of them.
    try:
        with suppress(OSError):  # a limit of processes, or of memory: the fewer do it all
            for _ in range(hands - 1):
                children.append(_fork(work, taken()))
        for item in taken():
            done(len(items) - _waiting(numbers))
            work(item)
    finally:
        # After an error no process begins another item.
        os.read(numbers, _MOST * _NUMBER.size)
        os.close(numbers)
        ended = [os.waitpid(child, 0)[1] for child in children]
        if collects:
            gc.enable()
    return not any(ended)


def _waiting(numbers: int) -> int:
    """Return how many item numbers a pipe can hold."""
    size = bytearray(_NUMBER.size)
    fcntl.ioctl(numbers, termios.FIONREAD, size)
    return int(_NUMBER.unpack(size)[0]) // _NUMBER.size


def _fork(work: Callable[[Item], object], items: Iterator[Item]) -> int:
    """Start a process that works on ``items`` until this one ends; return its pid."""
    parent = os.getpid()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        for item in items:
            if os.getppid() != parent:
                break
            work(item)
        else:
            status = 0
    finally:
        os._exit(status)


# The bytecode of installed trees, made by as many processes as there are processors.
#
# Standard library only: ``bootstrap.py`` imports this before anything is installed.


FEW = 20
"""Number of files that are compiled while another process starts."""


def make_bytecode(trees: Iterable[Path]) -> None:
    """Compile every source in ``trees``, except those for another Python.

    :raises OSError: if the bytecode cannot be written
    """
    sources = [path for tree in trees for path in tree.rglob("*.py") if path.is_file()]
    # The longest last would have the others wait for it.
    sources.sort(key=lambda path: path.stat().st_size, reverse=True)
    with warnings.catch_warnings():
        # A source's odd escapes are its authors' concern.
        warnings.simplefilter("ignore")
        from pylonyard.system import progress  # a run with nothing to do compiles nothing

        with progress.of("Compiling", len(sources), unit="files", alone=False) as step:
            share_work(_compile, sources, few=FEW, done=step.at)


def _compile(source: Path) -> None:
    kind = py_compile.PycInvalidationMode.TIMESTAMP
    with contextlib.suppress(py_compile.PyCompileError):
        py_compile.compile(os.fspath(source), doraise=True, invalidation_mode=kind)


def recompile(tree: Path) -> None:
    """Compile all sources of a tree again, and replace its bytecode."""
    for path in list(tree.rglob("__pycache__/*.pyc")):
        path.unlink(missing_ok=True)
    make_bytecode([tree])


class WheelError(PylonyardError):
    """A wheel is damaged, or not the requested one."""


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def egg_name(wheel: Path) -> str:
    """Return the name of a wheel's egg directory in zc.buildout 6."""
    name, version = wheel.name.split("-")[:2]
    python = "py{}.{}".format(*sys.version_info)
    return f"{name}-{version}-{python}-{sysconfig.get_platform()}.egg"


def is_supported(wheel: Path) -> bool:
    """Return whether this interpreter may use a wheel."""
    pythons, abi, platforms = wheel.name.removesuffix(".whl").split("-")[-3:]
    own = "cp{}{}".format(*sys.version_info)
    is_ours = {own, "py3"} & set(pythons.split(".")) or abi == "abi3"
    libc = "musllinux" if "musl" in (sysconfig.get_config_var("SOABI") or "") else "manylinux"
    machine = sysconfig.get_platform().rpartition("-")[2]
    is_here = platforms == "any" or (libc in platforms and machine in platforms)
    return bool(is_ours) and abi in ("none", "abi3", abi_tag()) and is_here


def install(wheel: Path, eggs: Path, accepted: Iterable[str] = ()) -> Path:
    """Install ``wheel`` as an egg directory of ``eggs``, atomically.

    :param accepted: SHA-256 digests, one of which the file must have; none: any
    :raises WheelError: if the file is not such, or is damaged; nothing of it
        has been installed then
    """
    egg = eggs / egg_name(wheel)
    if not egg.is_dir():
        install_all({wheel: list(accepted)}, eggs)
    return egg


def install_all(wanted: Mapping[Path, Collection[str]], eggs: Path) -> list[Path]:
    """Install wheels as egg directories of ``eggs``, each atomically.

    Return the wheels whose eggs these are; another run may have been faster.

    :param wanted: for each wheel the SHA-256 digests, one of which it must have;
        none: any
    :raises WheelError: if one is not such, or is damaged; none is installed then
    """
    with atomic.draft(eggs) as folder:

        def extract_one(wheel: Path) -> None:
            extract(wheel, folder / egg_name(wheel), wanted[wheel])

        largest_first = sorted(wanted, key=_size, reverse=True)
        from pylonyard.system import progress  # a run with nothing to do unpacks nothing

        with progress.of("Unpacking", len(wanted), unit="wheels", alone=False) as step:
            share_work(extract_one, largest_first, done=step.at)
        names = {wheel: egg_name(wheel) for wheel in wanted}
        make_bytecode(folder / name for name in names.values())
        return [
            wheel for wheel, name in names.items() if atomic.publish(folder / name, eggs / name)
        ]


def _size(wheel: Path) -> int:
    return wheel.stat().st_size if wheel.is_file() else 0


def unpack(wheel: Path, destination: Path) -> None:
    """Unpack ``wheel`` into the directory ``destination``, and compile it.

    :raises WheelError: if a file is missing, unexpected or differs from RECORD
    """
    extract(wheel, destination)
    make_bytecode([destination])


def extract(wheel: Path, destination: Path, accepted: Collection[str] = ()) -> None:
    """Unpack ``wheel`` into the directory ``destination``: the bytes that were checked.

    :param accepted: SHA-256 digests, one of which the file must have; none: any
    :raises WheelError: if it has not, or a file is missing, unexpected or differs from RECORD
    """
    destination.mkdir(parents=True, exist_ok=True)
    try:
        with _copy(wheel, destination, accepted) as copy, zipfile.ZipFile(copy) as archive:
            _expect_size(archive, copy.seek(0, os.SEEK_END))
            recorded, places = _recorded(archive), set[PurePosixPath]()
            for item in archive.infolist():
                if not item.is_dir():
                    if (path := member_path(item.filename)) in places:
                        raise ValueError(f"{path} is there twice")
                    places.add(path)
                    _extract(archive, item, recorded, destination / path)
            _expect_name(wheel, destination)
    except (*_DAMAGES, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno in atomic.UNWRITABLE:
            raise
        raise WheelError(f"{wheel}: damaged: {error}") from error
    if recorded:
        raise WheelError(f"{wheel}: damaged: {sorted(recorded)[0]} is missing")


_IN_MEMORY = 8_000_000
"""The size of a wheel, in bytes, above which its copy is a file without a name."""


def _copy(wheel: Path, folder: Path, accepted: Collection[str]) -> IO[bytes]:
    """Return a copy of a wheel that nobody can change; see :func:`extract`."""
    digest = hashlib.sha256()
    with wheel.open("rb") as source:
        if os.fstat(source.fileno()).st_size > _IN_MEMORY:
            import tempfile  # few wheels are that large

            copy: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115, the caller's
        else:
            copy = io.BytesIO()
        while block := source.read(1 << 20):
            digest.update(block)
            copy.write(block)
    if accepted and digest.hexdigest() not in accepted:
        copy.close()
        raise WheelError(f"{wheel}: its SHA-256 is not one of those recorded for it")
    return copy


# Those of zipfile for a password, and for a way to compress that it does not know, too.
_DAMAGES = (zipfile.BadZipFile, zlib.error, csv.Error, EOFError, RuntimeError)

_TIMES, _ALWAYS = 100, 200_000_000
"""Up to how many times its size a wheel may unpack to, and how many bytes it always may."""


def _expect_size(archive: zipfile.ZipFile, size: int) -> None:
    """Refuse a small wheel that would fill the disk. No member can be longer than it says."""
    whole = sum(item.file_size for item in archive.infolist())
    if whole > max(_ALWAYS, size * _TIMES):
        raise ValueError(f"it would unpack to {whole:,} bytes, {whole // size} times its size")


def _expect_name(wheel: Path, unpacked: Path) -> None:
    """Refuse a wheel whose metadata names another distribution than its file does."""
    named = wheel.name.partition("-")[0]
    for metadata in unpacked.glob("*.dist-info/METADATA"):
        with metadata.open(encoding="utf-8", errors="replace") as lines:
            found = re.search(r"(?im)^Name:\s*(\S+)", lines.read(1 << 20))
        if found and _canonical(found[1]) != _canonical(named):
            raise ValueError(f"METADATA is that of {found[1]}")


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _recorded(archive: zipfile.ZipFile) -> dict[str, str]:
    """Return the digest in RECORD for each file of a wheel."""
    records = [n for n in archive.namelist() if _is_record(n)]
    if len(records) != 1:
        raise ValueError(f"expected one RECORD, got {len(records)}")
    rows = [row for row in csv.reader(io.StringIO(archive.read(records[0]).decode())) if row]
    if any(len(row) != 3 for row in rows):
        raise ValueError("expected three columns in RECORD")
    return {row[0]: row[1] for row in rows if not row[0].endswith(_UNRECORDED)}


_UNRECORDED = (".dist-info/RECORD", ".dist-info/RECORD.jws", ".dist-info/RECORD.p7s")


_ALGORITHMS = ("sha256", "sha384", "sha512")
"""Those that the format of wheels allows: others can be forged, or have no fixed length."""


def _is_record(name: str) -> bool:
    return name.count("/") == 1 and name.endswith(".dist-info/RECORD")


def _extract(
    archive: zipfile.ZipFile,
    item: zipfile.ZipInfo,
    recorded: dict[str, str],
    path: Path,
) -> None:
    is_recorded = not item.filename.endswith(_UNRECORDED)
    if is_recorded and item.filename not in recorded:
        raise ValueError(f"{item.filename} is not in RECORD")
    algorithm, _, digest = recorded.pop(item.filename, "sha256=").partition("=")
    if algorithm not in _ALGORITHMS:
        expected = f"expected {', '.join(_ALGORITHMS)} in RECORD"
        raise ValueError(f"{item.filename}: {expected}, got {algorithm or 'none'}")
    actual = hashlib.new(algorithm)
    path.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(item) as source, path.open("wb") as target:
        while block := source.read(1 << 20):
            actual.update(block)
            target.write(block)
    text = base64.urlsafe_b64encode(actual.digest()).rstrip(b"=").decode()
    if is_recorded and text != digest:
        raise ValueError(f"{item.filename} differs from RECORD")
    # A wheel keeps a Unix mode in the high half; only "executable" matters.
    path.chmod(0o755 if item.external_attr >> 16 & 0o111 else 0o644)


def member_path(name: str) -> PurePosixPath:
    """Return the path of a wheel's member in the egg."""
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts or "\\" in name:
        raise ValueError(f"{name} would be written outside")
    if path.parts[0].endswith(".data"):
        if len(path.parts) < 3:
            raise ValueError(f"{name} is of no kind of data")
        kind, rest = path.parts[1], path.parts[2:]
        if kind in ("purelib", "platlib"):
            return PurePosixPath(*rest)
        info = path.parts[0].removesuffix(".data") + ".dist-info"
        # pkg_resources looks for a distribution's scripts beside its metadata.
        return PurePosixPath(info, kind, *rest)
    return path


def abi_tag() -> str:
    """Return the name of this interpreter's folder for ``abi-tag-eggs``."""
    suffix = sysconfig.get_config_var("SOABI") or ""
    return "cp" + suffix.split("-")[1] if suffix.startswith("cpython-") else os.name
