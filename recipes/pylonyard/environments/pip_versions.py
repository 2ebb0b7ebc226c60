"""Choose the versions for an environment of an interpreter other than buildout's own.

They are chosen as for buildout's own, by the same code.  The metadata of source trees and
archives comes from builds with that interpreter; what a tree gave is kept with the choice.
"""

import dataclasses
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pylonyard.config.layout import Layout
from pylonyard.environments.pip_venv import Build, Contents
from pylonyard.packages import archives, metadata, missing, pip_errors, source_trees, zc_installer
from pylonyard.packages.index import Places
from pylonyard.packages.metadata import Metadata
from pylonyard.packages.missing import is_pinned
from pylonyard.packages.resolver import pins, record, resolution, urls
from pylonyard.packages.zc_installer import Asked
from pylonyard.system.atomic import write
from pylonyard.system.errors import CommandError, OptionError, PylonyardError
from pylonyard.system.subprocesses import run


def chosen(
    buildout: Any,
    section: str,
    contents: Contents,
    versions: Mapping[str, str] | None,
    asked: Asked,
) -> Contents:
    """Return contents with a pin for each distribution that is needed.

    :param versions: the pins that the section names; None for those of the buildout
    :raises OptionError: if no versions fit together, or one cannot be had
    """
    layout = Layout.of(buildout)
    build = _Describing(buildout, section, contents, layout.environments)
    places = Places.of(buildout, contents.links, contents.index)
    try:
        trees = build.trees(record.trees(layout.directory, section))
        wanted = contents.requirements
        request = zc_installer.request(
            buildout, wanted, [], places, versions, asked, contents.interpreter
        )
        request = dataclasses.replace(
            request,
            given=build.given(trees),
            trees=trees,
            build=build.of_archive,
            limits=build.limits(request.limits),
        )
        found = resolution.choose(buildout, section, request)
        zc_installer.tell_picked(buildout, resolution.picked(request, found))
        resolution.fetch(layout, places, [each for each in found if each.name in request.named])
    except PylonyardError as error:
        if layout.offline:
            build.tell_missing(error)
        if isinstance(error, OptionError):
            raise
        reason = zc_installer.reason(error, buildout, places)
        raise OptionError(section, [f"eggs: {reason}"]) from error
    at = tuple(urls.at(each, layout.dist, request.named) for each in contents.requirements)
    return dataclasses.replace(contents, requirements=at, pins=_with(contents.pins, found))


def _with(named: Mapping[str, str], found: list[record.Chosen]) -> dict[str, str]:
    """Return pins with what was chosen, each in the words that the user has for it."""
    spelled = {str(canonicalize_name(name)): name for name in named}
    result = {name: pin for name, pin in named.items() if pin and not pins.is_range(pin)}
    for each in found:
        name = spelled.get(each.name, each.name)
        if not (name in result and is_pinned(each.version, result[name])):
            result[name] = each.version
    return result


class _Describing(Build):
    """What an environment takes, before there is one: its interpreter describes trees."""

    def limits(self, limits: pins.Limits) -> pins.Limits:
        """Return limits with those of pip and the like, which the environment has anyway."""
        for name in ("pip", "setuptools", "wheel"):
            if not limits.of(name):
                pin = self.pins[name]
                limits.add(name, pins.Limit(pins.specifier(pin), f"{name} = {pin}"))
        return limits

    def given(self, trees: Mapping[str, str]) -> dict[str, Metadata]:
        """Return what the standard library replaces, and what source trees give."""
        texts = [f"Name: {name}\nVersion: {v}\n" for name, v in self.contents.provided]
        return {each.name: each for each in map(Metadata.parse, [*texts, *trees.values()])}

    def trees(self, kept: Mapping[str, str]) -> dict[str, str]:
        """Return the metadata of the source trees, by the digests of these.

        :param kept: what is known from an earlier run
        """
        contents = self.contents
        digests = dict(zip(contents.source_digests, contents.sources, strict=True))
        digests |= {source_trees.digest(tree, editable=True): tree for tree in contents.develop}
        return {each: kept.get(each) or self._of_tree(tree) for each, tree in digests.items()}

    def _of_tree(self, tree: Path) -> str:
        with tempfile.TemporaryDirectory() as scratch:
            text = self._built(self._copied_tree(tree, Path(scratch)), Path(scratch))
        return text.partition("\n\n")[0]

    def of_archive(self, archive: Path) -> str:
        """Return the metadata of a source archive: of its wheel, which is kept in the cache.

        What does not build as it is has what setuptools stated on its maker's machine.
        """
        found = metadata.identified(archive.name)
        shelf = missing.Shelf(self.layout.dist, metadata.supported(self.contents.interpreter))
        wheel = shelf.find(Requirement(found.name), found.version) if found else None
        if wheel and wheel.suffix == ".whl":
            return _text(wheel)
        without = {canonicalize_name(name) for name in self.contents.without_setup_requires}
        if found and found.name in without:
            return archives.metadata_of(archive, self._kept, leniently=True)
        try:
            return archives.metadata_of(archive, self._kept)
        except CommandError as error:
            if text := archives.stated_leniently(archive):
                return text
            raise error

    def _kept(self, tree: Path, scratch: Path) -> str:
        """Build, and keep the wheel; return its metadata."""
        text = self._built(tree, scratch)
        for wheel in (scratch / "built").glob("*.whl"):
            if not (self.layout.dist / wheel.name).exists():
                write(self.layout.dist / wheel.name, wheel.read_bytes())
        return text

    def _built(self, tree: Path, scratch: Path) -> str:
        tools, folder = scratch / "tools", scratch / "built"
        dist = self._fetched_tools()
        for name in ("setuptools", "wheel"):
            (wheel,) = dist.glob(f"{name}-{self.pins[name]}-*.whl")
            with zipfile.ZipFile(wheel) as packed:
                packed.extractall(tools)
        (pip,) = dist.glob(f"pip-{self.pins['pip']}-*.whl")
        command: list[str | Path] = [self.contents.interpreter.executable, f"{pip}/pip"]
        command += ["--disable-pip-version-check", "--no-input", "wheel"]
        command += ["--wheel-dir", folder, *self._build_options(tree, scratch)]
        doing = f"Building {tree.name} for {self.contents.interpreter}"
        run(
            [*command, tree],
            f"cannot build {tree.name}",
            environment={**self._environment(), "PYTHONPATH": str(tools)},
            reason=lambda output: pip_errors.reason(output, self.layout.build_logs, tree.name),
            timeout=3600,
            doing=doing,
        )
        (wheel,) = folder.glob("*.whl")
        return _text(wheel)


def _text(wheel: Path) -> str:
    return metadata.described(wheel).read_text("METADATA") or ""
