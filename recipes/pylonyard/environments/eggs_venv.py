"""Make isolated environments; each never changes, and is named by a digest of its contents.

It is a virtual environment (PEP 405) whose ``site-packages`` holds one
``.pth`` file: the egg directories, in order.  Nothing of the machine's own
``site-packages`` is visible in it.  Standard library only: ``bootstrap.py``
imports this before anything is installed.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from pylonyard.packages.integrity import RefusedError, can_quarantine, quarantine
from pylonyard.packages.interpreters import interpreter
from pylonyard.packages.wheels import WheelError
from pylonyard.system import atomic

PTH = "pylonyard.pth"


def site_packages(home: Path) -> Path:
    """Return the site-packages folder of ``home``, for programs other than its own Python.

    :raises ValueError: if ``home`` is no environment
    """
    folders = list(home.glob("lib/python*/site-packages"))
    if len(folders) != 1:
        raise ValueError(f"home: expected an environment, got {str(home)!r}")
    return folders[0]


def search_path(home: Path) -> list[str]:
    """Return the folders with the distributions of an environment, in order."""
    packages = site_packages(home)
    pth = packages / PTH
    lines = pth.read_text(encoding="utf-8").splitlines() if pth.exists() else []
    return [str(packages), *(line for line in lines if line.startswith("/"))]


def make(store: Path, locations: Sequence[Path], *, with_data: bool = False) -> Path:
    """Return the environment of this interpreter that contains exactly ``locations``.

    :param store: where environments are kept, usually ``cache/sandboxes``
    :param locations: egg directories, in the order of ``sys.path``
    :param with_data: whether it has links to the data files of the eggs as well, where pip
        puts such files: below ``sys.prefix``, in ``share`` say
    :raises RefusedError: naming a changed file of the environment; it
        was moved to quarantine, and a good one takes its place
    """
    lines = list(_path_lines(locations))
    data = _data(locations) if with_data else {}
    home = store / _name(lines, data)
    found = _difference(home, lines, data) if home.is_dir() else None
    if home.is_dir() and not found:
        return home
    if found and not can_quarantine(home, store.parent):
        raise RefusedError(*found, None)
    with atomic.draft(store) as folder:
        draft = folder / home.name
        make_empty(draft, interpreter(), sys.version_info[:2])
        (site_packages(draft) / PTH).write_text("\n".join([*lines, ""]), encoding="utf-8")
        for name, place in data.items():
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            (draft / name).symlink_to(place)
        draft.chmod(0o755)
        aside = quarantine(home, store.parent) if found else None
        atomic.publish(draft, home)
    if found:
        raise RefusedError(*found, aside)
    return home


def eggs_of(home: Path) -> list[Path]:
    """Return the egg directories of an environment of this interpreter, in order.

    :raises RefusedError: naming a changed file; the environment has
        been moved to quarantine
    :raises WheelError: if there is no such environment
    """
    pth = home / _packages() / PTH
    if not is_eggs_venv(home):
        raise WheelError(f"{pth}: expected an environment, got none")
    eggs = [Path(line) for line in pth.read_text(encoding="utf-8").splitlines()]
    if home.name != _name([str(egg) for egg in eggs]):
        expected = f"the lines that {home.name} stands for"
        raise RefusedError(pth, expected, "others", quarantine(home, home.parent.parent))
    make(home.parent, eggs)
    return eggs


def is_eggs_venv(home: Path) -> bool:
    """Return whether this is one of these environments, for this interpreter."""
    return (home / _packages() / PTH).is_file()


def _packages() -> str:
    return "lib/python{}.{}/site-packages".format(*sys.version_info)


def _difference(
    home: Path, lines: Sequence[str], data: Mapping[str, Path]
) -> tuple[Path, str, str] | None:
    """Return the first changed file of an environment: file, expected, got."""
    expected = {**data, **_entries(interpreter(), sys.version_info[:2])}
    expected[f"{_packages()}/{PTH}"] = "\n".join([*lines, ""])
    for folder, folders, names in os.walk(home):
        for name in sorted([*names, *folders]):
            path = Path(folder, name)
            wanted = expected.pop(path.relative_to(home).as_posix(), None)
            if wanted is None and (path.is_symlink() or not path.is_dir()):
                return path, "no such file", "one"
            if wanted is not None and _content(path) != wanted:
                return path, "what it was made with", "other content"
    return (home / min(expected), "a file", "none") if expected else None


def _content(path: Path) -> str | Path | None:
    """Return the content of a file, or the target of a link."""
    if path.is_symlink():
        return Path(os.readlink(path))
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None


def _path_lines(locations: Iterable[Path]) -> Iterable[str]:
    """Yield the lines of a ``.pth`` file, then those of nested ``.pth`` files."""
    for location in locations:
        yield str(location)
        # Python reads .pth files in site-packages only; an editable project
        # speaks through one, so its lines are taken along.
        if not location.name.endswith(".egg"):
            for nested in sorted(location.glob("*.pth")):
                yield from nested.read_text(encoding="utf-8").splitlines()


def _data(locations: Iterable[Path]) -> dict[str, Path]:
    """Return the data files of eggs by their paths in an environment; the first egg wins."""
    own, found = _entries(interpreter(), sys.version_info[:2]), dict[str, Path]()
    for location in locations:
        for folder in sorted(location.glob("*.dist-info/data")):
            for path in sorted(each for each in folder.rglob("*") if each.is_file()):
                name = path.relative_to(folder).as_posix()
                is_made = name in own or name.startswith(_packages()) or "__pycache__" in name
                if not is_made:
                    found.setdefault(name, path)
    # A file of one egg may be where another has a folder.
    folders = {parent.as_posix() for name in found for parent in PurePosixPath(name).parents}
    return {name: path for name, path in found.items() if name not in folders}


def _name(lines: list[str], data: Mapping[str, Path] = MappingProxyType({})) -> str:
    held: list[object] = [str(interpreter()), sys.version_info[:2], lines]
    held += [{name: str(path) for name, path in data.items()}] if data else []
    return hashlib.sha256(json.dumps(held).encode()).hexdigest()[:20]


def make_empty(home: Path, base: Path, version: Sequence[int]) -> None:
    """Make an empty virtual environment (PEP 405).

    :param base: the interpreter, outside any virtual environment
    :param version: of that interpreter, to be written down as it is
    """
    for name, held in _entries(base, version).items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(held, Path):
            path.symlink_to(held)
        else:
            path.write_text(held, encoding="utf-8")
    (home / "lib" / "python{}.{}".format(*version) / "site-packages").mkdir(parents=True)


def _entries(base: Path, version: Sequence[int]) -> dict[str, str | Path]:
    """Return the files of an empty environment: for each path its text, or a link's target."""
    return {
        "bin/python": base,
        "bin/python3": Path("python"),
        "bin/python{}.{}".format(*version): Path("python"),
        "pyvenv.cfg": (
            f"home = {base.parent}\n"
            "include-system-site-packages = false\n"
            f"version = {'.'.join(map(str, version))}\n"
        ),
    }
