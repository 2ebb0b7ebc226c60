"""Build source trees and source archives as wheels.

``sources`` are built as wheels and copied: what is served does not change with
the checkout.  ``develop`` projects are built as editable wheels (PEP 660), so
flat and ``src`` layouts both work, and an edit shows at once.
"""

import ast
import base64
import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pylonyard.packages import wheels
from pylonyard.packages.integrity import Verified
from pylonyard.packages.metadata import pyproject
from pylonyard.packages.wheels import WheelError
from pylonyard.system import atomic, progress
from pylonyard.system.errors import CommandError
from pylonyard.system.subprocesses import last_line, run

_DESCRIPTIONS = ("pyproject.toml", "setup.py", "setup.cfg", "MANIFEST.in")
_NOT_SOURCE = {"__pycache__", "build", "dist", "node_modules"}

_PROJECT = ".pylonyard.lock"
"""Files that a folder has as soon as a buildout runs in it."""

MADE_BY_RUNS = frozenset(
    {"cache", "current", "develop-eggs", "eggs", "parts", "releases", "var"}
    | {".installed.cfg", ".mr.developer.cfg", ".pylonyard", _PROJECT}
)
"""Files at the top of a project that buildout runs in it have made."""
_COMMANDS_OF_RUNS = {"buildout", "pylonyard"}


def build(source: Path, store: Path, *, editable: bool) -> Path:
    """Build the project ``source``; return its folder in ``store``.

    One that is kept, but may have changed since, is compared with what its source gives.

    :raises CommandError: if there is no project, or it cannot be built
    :raises RefusedError: naming a file of the kept one that differs; a good one is in its place
    """
    if not any((source / name).is_file() for name in _DESCRIPTIONS[:2]):
        raise CommandError(f"cannot build {source}", "no pyproject.toml and no setup.py there")
    held = digest(source, editable=editable)
    place, verified = store / f"{source.name}-{held}", Verified(store.parent)
    if verified.unchanged(place, {held}):
        return place
    if place.is_dir():
        with tempfile.TemporaryDirectory() as scratch:
            wheel = _wheel(source, Path(scratch), editable)
            verified.verify(wheel, place, {wheels.sha256(wheel)})
    else:
        _make(source, place, editable)
    verified.note(place, held)
    return place


def mapped(place: Path) -> Iterator[Path]:
    """Yield the folders from which setuptools' import hook takes the packages of a built tree."""
    for finder in place.glob("__editable__*_finder.py"):
        found = re.search(r"(?m)^MAPPING\b.*?= (\{.*\})$", finder.read_text(encoding="utf-8"))
        for path in ast.literal_eval(found[1]).values() if found else ():
            yield Path(path).parent


def _make(source: Path, place: Path, editable: bool) -> None:
    with atomic.draft(place.parent) as folder:
        draft = folder / place.name
        try:
            wheels.unpack(_wheel(source, folder, editable), draft)
        except WheelError as error:
            raise CommandError(f"cannot build {source}", str(error)) from error
        wheels.publish(draft, place)


def digest(source: Path, *, editable: bool) -> str:
    """Return a digest of all inputs of the build of ``source``."""
    held = hashlib.sha256(repr((sys.version_info[:2], editable)).encode())
    if editable:
        held.update(repr((os.fspath(source), sorted(_packages(source)))).encode())
        files: Iterable[Path] = (source / name for name in _DESCRIPTIONS)
    else:
        files = _source_files(source)
    for path in files:
        if path.is_file():
            held.update(f"\0{path.relative_to(source)}\0{path.stat().st_mode & 0o111}\0".encode())
            held.update(path.read_bytes())
    return held.hexdigest()[:20]


def _packages(source: Path) -> Iterable[str]:
    for folder in (source, source / "src"):
        if folder.is_dir():
            yield from (
                entry.name
                for entry in folder.iterdir()
                if entry.is_dir() and (entry / "__init__.py").exists()
            )


def _source_files(source: Path) -> Iterable[Path]:
    for folder, folders, names in os.walk(source):
        left_out = _left_out(source, folder, [*folders, *names])
        folders[:] = sorted(set(folders) - left_out)
        yield from (Path(folder, n) for n in sorted(set(names) - left_out) if n[-4:] != ".pyc")


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
        if not (stat.S_ISREG(mode) or (stat.S_ISDIR(mode) and _is_source(Path(folder, name)))):
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


def _is_source(folder: Path) -> bool:
    is_made = folder.name in _NOT_SOURCE or folder.name.endswith(".egg-info")
    return not (is_made or folder.name.startswith(".") or is_environment(folder))


def _wheel(source: Path, scratch: Path, editable: bool) -> Path:
    """Build ``source`` and return the wheel, made below ``scratch``."""
    from pyproject_hooks import BackendUnavailable, BuildBackendHookCaller, HookMissing

    if not editable:
        # Backends write into the tree that they build, and it is not ours.
        source = copy(source, scratch)
    backend = pyproject(source).get("build-system", {})
    hooks = BuildBackendHookCaller(
        os.fspath(source),
        backend.get("build-backend", "setuptools.build_meta:__legacy__"),
        backend.get("backend-path"),
        runner=_quietly,
        python_executable=sys.executable,
    )
    try:
        with warnings.catch_warnings():
            # The backend's advice to the project's authors, pages of it.
            warnings.simplefilter("ignore")
            hook = hooks.build_editable if editable else hooks.build_wheel
            with progress.of(f"Building {source.name.removeprefix('source-')}"):
                return scratch / hook(os.fspath(scratch))
    except BackendUnavailable as error:
        backends = ", ".join(backend.get("requires", []))
        raise CommandError(
            f"cannot build {source}",
            f"its build backend is not among buildout's tools: {backends}",
            "build a wheel of it, and name its folder in find-links",
        ) from error
    except HookMissing as error:
        raise CommandError(
            f"cannot build {source}",
            f"its build backend has no {error.hook_name}",
            "name it in sources, not in develop",
        ) from error
    except subprocess.CalledProcessError as error:
        raise CommandError(f"cannot build {source}", last_line(error.output)) from error


def copy(source: Path, scratch: Path) -> Path:
    """Copy the tree ``source`` below ``scratch``, without built files; return the copy."""
    return shutil.copytree(
        source,
        scratch / f"source-{source.name}",
        ignore=lambda folder, names: _left_out(source, folder, names),
    )


def needs_setuptools_alone(source: Path) -> bool:
    """Return whether building ``source`` takes setuptools and wheel, and nothing else."""
    needed = pyproject(source).get("build-system", {}).get("requires", [])
    return {canonicalize_name(Requirement(text).name) for text in needed} <= {"setuptools", "wheel"}


def _quietly(
    cmd: Sequence[str], cwd: str | None = None, extra_environ: Mapping[str, str] | None = None
) -> None:
    subprocess.run(
        cmd,
        cwd=cwd,
        env={**os.environ, **(extra_environ or {})},
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


# Source distributions whose ``setup_requires`` names what no index has any more.
#
# Such a requirement is fetched before anything is built, even if the build can do
# without; so ``setup.py`` is run with the keyword taken away.


# Valid in every Python since 2.7; setup.py is read as Python itself would.
_SETUP = """
import os, sys
import setuptools
import distutils.core
def without_requirements(given):
    def setup(**keywords):
        keywords.pop('setup_requires', None)
        return given(**keywords)
    return setup
setuptools.setup = without_requirements(setuptools.setup)
distutils.core.setup = without_requirements(distutils.core.setup)
sys.argv[0] = 'setup.py'
sys.path.insert(0, os.getcwd())
with open('setup.py', 'rb') as stream:
    code = compile(stream.read(), 'setup.py', 'exec')
exec(code, {'__name__': '__main__', '__file__': 'setup.py'})
"""


def project_name(home: Path, tree: Path) -> str:
    """Return the project name in the ``setup.py`` or ``pyproject.toml`` of ``tree``, if any.

    :raises CommandError: if it cannot be read
    """
    if name := pyproject(tree).get("project", {}).get("name"):
        return str(name)
    if not (tree / "setup.py").is_file():
        return ""
    return last_line(_run_setup(home, tree, "-q", "--name"))


def wheel_without_setup_requires(home: Path, tree: Path, folder: Path) -> Path:
    """Build the source tree ``tree`` in the environment ``home``; return the wheel, in ``folder``.

    :raises CommandError: if it does not build
    """
    with tempfile.TemporaryDirectory() as scratch:
        _run_setup(home, tree, "-q", "bdist_wheel", "-d", scratch)
        (wheel,) = Path(scratch).glob("*.whl")
        return Path(shutil.move(wheel, folder / wheel.name))


def _run_setup(home: Path, tree: Path, *words: str) -> str:
    python = home / "bin" / "python"
    return run([python, "-c", _SETUP, *words], f"cannot build {tree.name}", directory=tree)


@contextmanager
def unpacked(sdist: Path) -> Iterator[Path]:
    """Unpack a source distribution; yield its source tree, until the block ends.

    :raises CommandError: if it is none
    """
    with tempfile.TemporaryDirectory() as scratch:
        tree = unpack(sdist, Path(scratch))
        if not (tree / "setup.py").is_file():
            raise CommandError(f"cannot unpack {sdist}", "it has no setup.py")
        yield tree


# Wheels that hold metadata only: for what the standard library has taken over.
#
# A distribution that is no longer to be had, such as ``elementtree``, may still be
# required by an old one, though Python brings its modules.  An empty distribution
# of that name satisfies the requirement.


def make_metadata_wheel(folder: Path, name: str, version: str) -> Path:
    """Write a wheel of the distribution ``name`` with metadata only."""
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    files = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        "Summary: Provided by the standard library\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: pylonyard\nRoot-Is-Purelib: true\n"
        "Tag: py2-none-any\nTag: py3-none-any\n",
        f"{info}/top_level.txt": "\n",
    }
    record = "".join(f"{path},{_digest(text)},{len(text)}\n" for path, text in files.items())
    wheel = folder / f"{stem}-py2.py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return wheel


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


# Source archives, unpacked so that nothing is written elsewhere.


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack a tar or zip file with a single folder; return that folder.

    :raises CommandError: if it is not such an archive, or would write elsewhere
    """
    try:
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
