"""Source trees of the checkout: built once for what they hold, and kept.

``sources`` are built as wheels and copied: what is served does not change with
the checkout.  ``develop`` projects are built as editable wheels (PEP 660), so
flat and ``src`` layouts both work, and an edit shows at once.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pylonyard import drafts, progress, wheels
from pylonyard.errors import CommandError
from pylonyard.integrity import Verified
from pylonyard.running import last_line
from pylonyard.wheels import WheelError

_DESCRIPTIONS = ("pyproject.toml", "setup.py", "setup.cfg", "MANIFEST.in")
_NOT_SOURCE = {"__pycache__", "build", "dist", "node_modules"}


def build(source: Path, store: Path, *, editable: bool) -> Path:
    """Return the folder in ``store`` that holds the built project ``source``.

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


def _make(source: Path, place: Path, editable: bool) -> None:
    with drafts.draft(place.parent) as folder:
        draft = folder / place.name
        try:
            wheels.unpack(_wheel(source, folder, editable), draft)
        except WheelError as error:
            raise CommandError(f"cannot build {source}", str(error)) from error
        wheels.publish(draft, place)


def digest(source: Path, *, editable: bool) -> str:
    """Return a name for all that decides what building ``source`` gives."""
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
        folders[:] = sorted(f for f in folders if _is_source(f))
        yield from (Path(folder, name) for name in sorted(names) if not name.endswith(".pyc"))


def _is_source(folder: str) -> bool:
    return not (folder in _NOT_SOURCE or folder.startswith(".") or folder.endswith(".egg-info"))


def _wheel(source: Path, scratch: Path, editable: bool) -> Path:
    """Build ``source`` and return the wheel, made below ``scratch``."""
    from pyproject_hooks import BackendUnavailable, BuildBackendHookCaller, HookMissing

    if not editable:
        # Backends write into the tree that they build, and it is not ours.
        source = copy(source, scratch)
    backend = _build_system(source)
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
    """Return a copy of the tree ``source`` below ``scratch``, what was built left out."""
    return shutil.copytree(
        source,
        scratch / f"source-{source.name}",
        ignore=lambda folder, names: [
            n for n in names if os.path.isdir(os.path.join(folder, n)) and not _is_source(n)
        ],
    )


def needs_setuptools_alone(source: Path) -> bool:
    """Tell whether building ``source`` takes setuptools and wheel, and nothing else."""
    needed = _build_system(source).get("requires", [])
    return {canonicalize_name(Requirement(text).name) for text in needed} <= {"setuptools", "wheel"}


def _build_system(source: Path) -> dict[str, Any]:
    description = source / "pyproject.toml"
    if not description.is_file():
        return {}
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        from pip._vendor import tomli as tomllib  # type: ignore[no-redef]
    with description.open("rb") as stream:
        try:
            system: dict[str, Any] = tomllib.load(stream).get("build-system", {})
        except ValueError as error:
            raise CommandError(f"cannot build {source}", f"pyproject.toml: {error}") from error
    return system


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
