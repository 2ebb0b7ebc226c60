"""Make environments of other interpreters from the files of a lock, and from nothing else.

pip sees one private folder, which holds verified copies alone, and no index.
What is locked as a source is built of the verified source; the wheel is kept, and
recognised by its SHA-256.
"""

import contextlib
import hashlib
import itertools
import os
import shutil
from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pylonyard.config.layout import Layout
from pylonyard.environments import pip_venv
from pylonyard.environments.eggs_venv import site_packages
from pylonyard.environments.pip_venv import COMPLETE, Build, Contents
from pylonyard.environments.tools import VIRTUALENV
from pylonyard.packages.integrity import Verified, bytecode_of
from pylonyard.packages.lock.files import Files, LockedEggs, Target
from pylonyard.packages.lock.pylock import Locked
from pylonyard.packages.metadata import described, follow
from pylonyard.packages.wheels import WheelError
from pylonyard.system import atomic
from pylonyard.system.errors import CommandError, OptionError
from pylonyard.system.subprocesses import run


def make(buildout: Any, files: Files, contents: Contents) -> Path:
    """Return the environment with ``contents``, unchanged since it was made.

    A tampered one is moved to quarantine, and made again for the releases that use it.  One
    without a record by this account may serve somebody else: it is left alone, and another
    one is made beside it.

    :raises OptionError: naming a file that is not as it should be
    """
    layout = Layout.of(buildout)
    verified = Verified(layout.cache)

    def build(*words: Any) -> Build:
        return LockedBuild(files, *words)

    refusal = None
    for home in _homes(layout.environments, contents.digest()):
        if not (home / COMPLETE).exists():
            break
        try:
            if verified.check_tree(home, _compile_anew):
                return home
        except WheelError as error:
            if (home / COMPLETE).exists():  # we may not move it, nor is it to be used
                raise OptionError(files.section, [f"lock: {error}"]) from error
            refusal = error
            break
    pip_venv.make(buildout, files.section, contents, build, home)
    _compile_anew(home)
    verified.note_tree(home)
    if refusal:
        raise OptionError(files.section, [f"lock: {refusal}"]) from refusal
    return home


def _homes(store: Path, digest: str) -> Iterator[Path]:
    """Yield the paths of an environment: the shared one, then those of this account."""
    yield store / digest
    for number in itertools.count(1):
        own = f"{digest} of account {os.geteuid()}, {number}"
        yield store / hashlib.sha256(own.encode()).hexdigest()[:20]


def _compile_anew(home: Path) -> None:
    """Compile all sources again, by the environment's own Python."""
    for path in bytecode_of(home):
        path.unlink()
    # Some installed files are not valid in this Python; the others are compiled.
    with contextlib.suppress(CommandError):
        run(
            [home / "bin" / "python", "-E", "-S", "-m", "compileall", "-q", site_packages(home)],
            "compileall",
        )


class LockedBuild(Build):
    """The build of an environment from the files of a lock."""

    def __init__(self, files: Files, *words: Any) -> None:
        super().__init__(*words)
        self.files = files
        self.target = Target.of(self.contents.interpreter, files.from_source)
        self.environment, self.tags = self.target.environment, self.target.tags

    def build(self) -> None:
        with atomic.draft(self.layout.environments) as folder:
            self.wheels = folder
            super().build()

    def tell_missing(self, error: Exception) -> None:
        """Do nothing: files that a lock names are reported elsewhere."""

    def _virtualenv(self) -> list[Path]:
        return LockedEggs(self.files, {}).locations(VIRTUALENV, [])

    def _fetched_tools(self) -> Path:
        for pinned in self._tools():
            self._copied(Requirement(pinned))
        self._supply_builds()
        return self.wheels

    def _supply_builds(self) -> None:
        """Put all locked files where pip finds them for ``setup_requires``."""
        packages = self.files.lock.packages_for(self.environment)
        if all(package.wheel_for(self.tags) for package in packages if package.marker):
            return
        for package in packages:
            name = package.wheel_for(self.tags) or (package.sdist or ("",))[0]
            if package.marker and name and not (self.wheels / name).exists():
                shutil.copyfile(self.files.get(package, name), self.wheels / name)

    def _source(self, pinned: str) -> Path:
        package = self._package(Requirement(pinned))
        if package.sdist is None:
            raise self.files.mismatch_error(f"expected a source of {pinned}, got none")
        return self.files.get(package, package.sdist[0])

    def _package(self, wanted: Requirement) -> Locked:
        return self.files.package(wanted, self.environment, self.pins)

    def _bring_wheels(self, wanted: Sequence[str], scratch: Path) -> None:
        """Copy or build the required wheels into the folder that pip uses."""

        def get(requirement: Requirement) -> Distribution:
            local = self.local.get(str(canonicalize_name(requirement.name)))
            return described(local or self._copied(requirement))

        follow(map(Requirement, wanted), get, self.environment)

    def _copied(self, wanted: Requirement) -> Path:
        package = self._package(wanted)
        name = package.wheel_for(self.tags)
        wheel = self.files.get(package, name, self.target) if name else self._built(package)
        copy = self.wheels / wheel.name
        return copy if copy.exists() else Path(shutil.copyfile(wheel, copy))

    def _built(self, package: Locked) -> Path:
        """Build the wheel of a distribution that is locked as a source; return it."""
        return self.files.built(package, self.tags, self._wheel_of)

    def _wheel_of(self, source: Path) -> Path:
        folder = self.wheels / f"{source.name}.built"
        self._pip("wheel", "--no-deps", *self._places(folder), "--wheel-dir", folder, source)
        try:
            (wheel,) = folder.glob("*.whl")
        except ValueError:
            raise CommandError(f"cannot build {source}", "pip made no wheel of it") from None
        return wheel

    def _places(self, scratch: Path) -> list[str | Path]:
        return ["--no-index", "--find-links", scratch, "--find-links", self.wheels]

    def _environment(self) -> dict[str, str]:
        """Return the variables with which pip, also inside a build, asks no index."""
        kept = {k: v for k, v in super()._environment().items() if not k.startswith("PIP_")}
        return {
            **kept,
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": self.wheels.as_uri(),
        }
