"""Build source trees and source archives as wheels.

``sources`` are built as wheels and copied: what is served does not change with
the checkout.  ``develop`` projects are built as editable wheels (PEP 660), so
flat and ``src`` layouts both work, and an edit shows at once.
"""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pylonyard.packages import wheels
from pylonyard.packages.archives import unpack
from pylonyard.packages.integrity import Verified
from pylonyard.packages.metadata import distributions, pyproject
from pylonyard.packages.source_trees import (
    DESCRIPTIONS,
    are_met,
    build_requirements,
    copy,
    digest,
)
from pylonyard.packages.wheels import WheelError
from pylonyard.system import atomic, progress
from pylonyard.system.errors import CommandError, PylonyardError, reason
from pylonyard.system.safe_files import json_object
from pylonyard.system.subprocesses import first_error, last_line, run

Environment = Callable[[Sequence[str], Path], Path]
"""Makes an environment with the given requirements alone, and writes its commands into a
folder; returns the environment."""

RECORDS = "builds"
"""The folder of the cache that says what each built tree was built with."""
RECORD_FORMAT = 1


@dataclass(frozen=True)
class Workshop:
    """Where a build gets what it needs, and leaves what its backend prints."""

    environment: Environment
    logs: Path
    """The folder for the output of builds that failed."""


def build(source: Path, store: Path, *, editable: bool, workshop: Workshop | None = None) -> Path:
    """Build the project ``source``; return its folder in ``store``.

    One that is kept, but may have changed since, is compared with what its source gives.

    :param workshop: without one, the tools of this interpreter have to be enough
    :raises CommandError: if there is no project, or it cannot be built
    :raises RefusedError: naming a file of the kept one that differs; a good one is in its place
    """
    if not any((source / name).is_file() for name in DESCRIPTIONS[:2]):
        raise CommandError(f"cannot build {source}", "no pyproject.toml and no setup.py there")
    try:
        held = digest(source, editable=editable)
        place = store / f"{source.name}-{held}"
        if Verified(store.parent).unchanged(place, {held}):
            return place
        if editable:
            return _kept(_Job(source, source, place, editable, workshop), held)
        # Somebody may be at work in the tree: what is built is a copy, and named by its digest.
        with tempfile.TemporaryDirectory() as scratch:
            tree = copy(source, Path(scratch))
            held = digest(source, editable=False, copied=tree)
            place = store / f"{source.name}-{held}"
            return _kept(_Job(source, tree, place, editable, workshop), held)
    except OSError as error:
        if error.errno in atomic.UNWRITABLE:
            raise
        raise CommandError(f"cannot build {source}", reason(error)) from error


def _kept(job: "_Job", held: str) -> Path:
    """Return the folder of a build; build it if needed.

    :param held: the digest of what is built
    """
    place, verified = job.place, Verified(job.place.parent.parent)
    if verified.unchanged(place, {held}):
        return place
    if place.is_dir():
        with tempfile.TemporaryDirectory() as scratch:
            wheel = job.wheel(Path(scratch))
            verified.verify(wheel, place, {wheels.sha256(wheel)})
    else:
        job.publish()
    verified.note(place, held)
    return place


def build_archive(archive: Path, scratch: Path, workshop: Workshop | None = None) -> Path:
    """Build a source archive; return the wheel, below ``scratch``.

    :param workshop: without one, the tools of this interpreter have to be enough
    :raises CommandError: if it is none, or does not build
    """
    folder = scratch / "archive"
    folder.mkdir()
    tree = unpack(archive, folder)
    try:
        return _Job(tree, tree, folder / tree.name, False, workshop).wheel(scratch)
    except CommandError as error:
        raise CommandError(f"cannot build {archive.name}", error.reason, error.advice) from error


def record_of(place: Path) -> dict[str, Any]:
    """Return what a built tree was built with, if that was more than our own tools.

    ``requires``: the requirements of its build; ``environment``: the folder with all of them.
    """
    try:
        record = json_object(_record(place).read_bytes())
    except (OSError, PylonyardError):
        return {}
    return record if record.get("version") == RECORD_FORMAT else {}


def _record(place: Path) -> Path:
    return place.parent.parent / RECORDS / f"{place.name}.json"


@dataclass(frozen=True)
class _Job:
    """The build of a source tree as its pyproject.toml says (PEP 517, 518 and 660)."""

    source: Path
    tree: Path
    """What is built: the source as it stands, or a copy of it."""
    place: Path
    editable: bool
    workshop: Workshop | None

    def publish(self) -> None:
        """Build, and put the unpacked wheel in its place."""
        with atomic.draft(self.place.parent) as folder:
            draft = folder / self.place.name
            try:
                wheels.unpack(self.wheel(folder), draft)
            except WheelError as error:
                raise CommandError(f"cannot build {self.source}", str(error)) from error
            atomic.publish(draft, self.place)

    def wheel(self, scratch: Path) -> Path:
        """Build, and return the wheel, made below ``scratch``."""
        from pyproject_hooks import BackendUnavailable, HookMissing

        kind = "editable" if self.editable else "wheel"
        backend = _Backend(self.tree, kind, scratch / "commands", self.workshop)
        what = f"cannot build {self.source}"
        try:
            with warnings.catch_warnings(), progress.of(f"Building {self.source.name}"):
                # The backend's advice to the project's authors, pages of it.
                warnings.simplefilter("ignore")
                wheel = backend.build(scratch)
        except BackendUnavailable as error:
            required = ", ".join(backend.required)
            why = f"its build backend is not among what it requires: {required}"
            raise CommandError(what, why) from error
        except HookMissing as error:
            advice = "name it in sources, not in develop"
            raise CommandError(
                what, f"its build backend has no {error.hook_name}", advice
            ) from error
        except subprocess.CalledProcessError as error:
            raise CommandError(what, self._reason(error.output)) from error
        if backend.home:
            record = {"version": RECORD_FORMAT, "requires": backend.required}
            record["environment"] = str(backend.home)
            atomic.write(_record(self.place), (json.dumps(record, indent=1) + "\n").encode())
        return wheel

    def _reason(self, output: str) -> str:
        if not self.workshop:
            return first_error(output)
        log = self.workshop.logs / f"{self.source.name}.log"
        atomic.write(log, output.encode())
        return f"{first_error(output)} (all that it printed is in {log})"


class _Backend:
    """A build backend, and the environment that it runs in."""

    def __init__(self, tree: Path, kind: str, commands: Path, workshop: Workshop | None) -> None:
        self.tree = tree
        self.kind = kind
        self.commands = commands
        self.workshop = workshop
        self.required = build_requirements(tree)
        self.home: Path | None = None
        """Its own environment; None if it runs on this interpreter, with our setuptools."""

    def build(self, scratch: Path) -> Path:
        """Build, and return the wheel.

        :raises BackendUnavailable: if what it requires does not have the backend
        :raises HookMissing: if the backend cannot build this kind
        :raises CalledProcessError: if it fails
        """
        hooks = self._hooks()
        more = getattr(hooks, f"get_requires_for_build_{self.kind}")()
        if not set(more) <= set(self.required):
            self.required += more
            hooks = self._hooks()
        return scratch / str(getattr(hooks, f"build_{self.kind}")(os.fspath(scratch)))

    def _hooks(self) -> Any:
        from pyproject_hooks import BuildBackendHookCaller

        # Our own setuptools saves seconds, where it is all that the build takes.
        if self.workshop and not are_met(self.required, own_tools()):
            self.home = self.workshop.environment(self.required, self.commands)
        stated = pyproject(self.tree).get("build-system", {})
        return BuildBackendHookCaller(
            os.fspath(self.tree),
            stated.get("build-backend", "setuptools.build_meta:__legacy__"),
            stated.get("backend-path"),
            runner=self._run,
            python_executable=str(self.home / "bin" / "python") if self.home else sys.executable,
        )

    def _run(
        self,
        cmd: Sequence[str],
        cwd: str | None = None,
        extra_environ: Mapping[str, str] | None = None,
    ) -> None:
        path = f"{self.commands}:{os.environ.get('PATH', os.defpath)}"
        subprocess.run(
            cmd,
            cwd=cwd,
            env={**os.environ, "LC_ALL": "C.UTF-8", "PATH": path, **(extra_environ or {})},
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def required_beyond_ours(archive: Path) -> list[str]:
    """Return what building a source archive requires, if that is more than our own tools.

    Nothing is known of one that is not there.

    :raises CommandError: if it is none, or its pyproject.toml cannot be read
    """
    if not archive.exists():
        return []
    with tempfile.TemporaryDirectory() as scratch:
        required = build_requirements(unpack(archive, Path(scratch, "source")))
        return [] if are_met(required, own_tools()) else required


def own_tools() -> dict[str, str]:
    """Return the versions of the setuptools and the wheel of this interpreter."""
    found = distributions(sys.path)
    return {name: found[name].version for name in ("setuptools", "wheel") if name in found}


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
