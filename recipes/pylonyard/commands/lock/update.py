"""Run ``bin/pylonyard lock --update NAME``: move one distribution, and what it needs.

A run of ``bin/buildout`` without the lock chooses the versions: the newest of what is named, and
of all others those that are installed, as far as they fit.  What it installs is locked then.
"""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from packaging.utils import canonicalize_name

from pylonyard.buildout import installed_cfg
from pylonyard.commands.config import Sections
from pylonyard.environments import scripts
from pylonyard.packages import metadata
from pylonyard.packages.lock.fit import RECIPES
from pylonyard.packages.resolver import record
from pylonyard.system import progress
from pylonyard.system.command_line import closest_match
from pylonyard.system.errors import UserError

Installed = Mapping[str, Mapping[str, str]]
"""For each section of an application the versions that it has, by canonical name."""


def command(
    directory: Path, bin_folder: Path, names: Sequence[str], offline: bool
) -> Iterator[str]:
    """Install the newest of some distributions that fits; yield what has moved.

    :param offline: whether the download cache is the index
    :raises UserError: if none is installed, or buildout fails; nothing is chosen anew then
    """
    before = installed(directory)
    wanted = {str(canonicalize_name(name)): name for name in names}
    there = {name for versions in before.values() for name in versions}
    for name, spelled in wanted.items():
        if name not in there:
            where = ", ".join(f"[{section}]" for section in before) or "an application"
            other = closest_match(name, there)
            raise UserError(f"lock: expected a distribution of {where}, got {spelled}{other}")
    sections = Sections.of(directory)
    words = [f"{name}:lock=" for name in sections.applications() if sections.value(name, "lock")]
    kept = record.update(directory, wanted, before)
    # Words that no other run has: it must not answer that nothing has changed.
    words = [*(["-o"] if offline else []), "buildout:newest=false", *words]
    with progress.hidden():
        status = subprocess.run([bin_folder / "buildout", *words], cwd=directory).returncode
    if status:
        record.restore(directory, kept)
        raise UserError("lock: nothing is locked, since bin/buildout without the lock has failed")
    yield from _moved(before, installed(directory), wanted, sections)


def installed(directory: Path) -> Installed:
    """Return what the applications of the last run have, but for what was built of trees.

    :raises UserError: if there was no run
    """
    try:
        held = (directory / ".installed.cfg").read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{directory}: expected a run of bin/buildout before, got none") from error
    return {
        section: _versions(Path(options["home"]))
        for section, options in installed_cfg.parsed(held).items()
        if options.get("recipe") in RECIPES and "home" in options
    }


def _versions(home: Path) -> dict[str, str]:
    projects = home.parent.parent / "projects"
    return {
        name: found.version
        for name, found in scripts.distributions(home).items()
        if not metadata.is_tree(found, home)
        and not Path(str(found.locate_file(""))).is_relative_to(projects)
    }


def _moved(
    before: Installed, after: Installed, wanted: Mapping[str, str], sections: Sections
) -> Iterator[str]:
    lines: dict[str, None] = {}
    for section, versions in after.items():
        old = before.get(section, {})
        for name in sorted({*old, *versions}):
            was, now = old.get(name, "not there"), versions.get(name, "not there")
            if was != now:
                lines[f"{name}: {was} -> {now}"] = None
            elif name in wanted:
                lines[f"{name}: stays at {now}, {_why(sections, section, name)}"] = None
    yield from lines


def _why(sections: Sections, section: str, name: str) -> str:
    named = sections.value(section, "versions") or sections.value("buildout", "versions")
    pins = {str(canonicalize_name(each)) for each in sections.options(named or "versions")}
    return f"as [{named or 'versions'}] has it" if name in pins else "the newest that fits"
