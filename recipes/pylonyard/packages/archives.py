"""Unpack source archives, and read their metadata: what they state, or what a build gives."""

import os
import re
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from email.parser import HeaderParser
from importlib.metadata import PathDistribution
from pathlib import Path

from pylonyard.packages import pip_errors
from pylonyard.system.errors import CommandError
from pylonyard.system.subprocesses import run


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack a tar or zip file with a single folder; return that folder.

    :raises CommandError: if it is not such an archive, or would write elsewhere
    """
    try:
        folder.mkdir(exist_ok=True)
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed:
                packed.extractall(folder)
        else:
            _unpack_tar(archive, folder)
        (tree,) = [path for path in folder.iterdir() if path.is_dir()]
    except (OSError, ValueError, tarfile.TarError) as error:
        raise CommandError(f"cannot unpack {archive}", str(error)) from error
    return tree


def _unpack_tar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as packed:
        members = packed.getmembers()
        for member in members:
            if member.name.startswith("/") or ".." in Path(member.name).parts:
                raise tarfile.TarError(f"{member.name} would be written outside")
        if hasattr(tarfile, "data_filter"):
            packed.extractall(folder, filter="data")
        else:
            # Python 3.11.2, which is Debian 12's: a link might lead elsewhere.
            plain = [member for member in members if member.isfile() or member.isdir()]
            packed.extractall(folder, plain)


def stated(tree: Path, *, leniently: bool = False) -> str | None:
    """Return the metadata that an unpacked source archive states for good (PEP 643), if any.

    :param leniently: whether what setuptools found on its maker's machine will do
    """
    info = tree / "PKG-INFO"
    text = info.read_text(encoding="utf-8", errors="replace") if info.is_file() else ""
    stated = HeaderParser().parsestr(text)
    version = [int(digits) for digits in re.findall(r"\d+", stated.get("Metadata-Version", "1.0"))]
    dynamic = {name.lower() for name in stated.get_all("Dynamic", [])}
    if version >= [2, 2] and not dynamic & {"requires-dist", "requires-python", "provides-extra"}:
        return text
    found = next(iter([*tree.glob("*.egg-info"), *tree.glob("src/*.egg-info")]), None)
    if not leniently or found is None or "Name" not in stated:
        return None
    needed = "".join(f"Requires-Dist: {each}\n" for each in PathDistribution(found).requires or ())
    return f"Name: {stated['Name']}\nVersion: {stated['Version']}\n{needed}"


def metadata_of(
    archive: Path, build: Callable[[Path, Path], str], *, leniently: bool = False
) -> str:
    """Return the metadata of a source archive: what it states, or what its wheel does.

    :param build: builds a wheel of the source tree, in a folder; returns its metadata
    :raises CommandError: if it cannot be unpacked or built
    """
    with tempfile.TemporaryDirectory() as scratch:
        tree = unpack(archive, Path(scratch, "source"))
        text = stated(tree, leniently=leniently)
        if text is None:
            text = build(tree, Path(scratch))
        return text


def stated_leniently(archive: Path) -> str | None:
    """Return what setuptools stated of an archive on its maker's machine, if it did."""
    with tempfile.TemporaryDirectory() as scratch:
        return stated(unpack(archive, Path(scratch, "source")), leniently=True)


def pip_wheel(
    tree: Path,
    folder: Path,
    options: Sequence[str | Path],
    variables: Mapping[str, str],
    logs: Path,
) -> Path:
    """Build a source tree with our own Python and pip; return the wheel, in ``folder``.

    :param variables: for pip's environment
    :param logs: the folder for what pip prints, if it fails
    :raises CommandError: if it does not build
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "wheel"]
    run(
        [*command, "--no-deps", "--wheel-dir", folder, *options, tree],
        f"cannot build {tree.name}",
        environment={**os.environ, **variables},
        reason=lambda output: pip_errors.reason(output, logs, tree.name),
        doing=f"Building {tree.name}",
    )
    (wheel,) = folder.glob("*.whl")
    return wheel
