"""zc.buildout's installer: the only module that talks to it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import zc.buildout.easy_install
from zc.buildout import UserError
from zc.buildout.easy_install import pkg_resources

from pylonyard.errors import OptionError
from pylonyard.layout import Layout


def fetch(buildout: Any, section: str, requirement: str, *, source: bool = False) -> Path:
    """Return the file of a distribution in the download cache; bring it if need be.

    :param requirement: with a version, such as ``pip==20.3.4``
    :param source: whether it has to be a source distribution
    :raises OptionError: if it cannot be had
    """
    layout = Layout.of(buildout)
    try:
        installer = _installer(buildout, None, (), None, {})
        wanted = pkg_resources.Requirement.parse(requirement)
        found = installer._obtain(wanted, source)
        if found is None:
            raise UserError(f"there is no {'source of ' if source else ''}{requirement}")
        layout.dist.mkdir(parents=True, exist_ok=True)
        return Path(installer._fetch(found, str(layout.dist), str(layout.dist)).location)
    except UserError as error:
        raise _cannot(section, requirement, layout, error) from error


def tool_path(buildout: Any, section: str, pinned: Sequence[str]) -> list[Path]:
    """Return the folders of a tool of ours, every distribution of it pinned."""
    versions = dict(text.split("==") for text in pinned)
    layout = Layout.of(buildout)
    try:
        installer = _installer(buildout, str(layout.eggs), (), None, versions)
        return [Path(dist.location) for dist in installer.install([pinned[0]])]
    except UserError as error:
        raise _cannot(section, pinned[0], layout, error) from error


def _cannot(section: str, wanted: str, layout: Layout, error: UserError) -> OptionError:
    reason = " ".join(str(error).split())
    if layout.offline:
        reason += f" (offline, from {layout.dist})"
    return OptionError(section, [f"eggs: cannot have {wanted}: {reason}"])


def _installer(
    buildout: Any,
    destination: str | None,
    links: Sequence[str],
    index: str | None,
    versions: Mapping[str, str] | None,
    path: Sequence[str] = (),
    *,
    check_picked: bool = False,
) -> Any:
    """Return zc.buildout's installer as this buildout configures it.

    :param check_picked: whether ``allow-picked-versions`` decides about what has no pin
    """
    base = buildout["buildout"]
    layout = Layout.of(buildout)
    if layout.offline:
        links, index = (), layout.dist.as_uri()
    return zc.buildout.easy_install.Installer(
        destination,
        links=list(links or base["find-links"].split()) if not layout.offline else [],
        index=index or base.get("index"),
        path=list(path),
        newest=base.get("newest") == "true" and not layout.offline,
        versions=versions,
        allow_hosts=tuple(base["allow-hosts"].split()),
        check_picked=check_picked,
    )


def locations(
    buildout: Any,
    section: str,
    requirements: Sequence[str],
    projects: Sequence[Path],
    links: Sequence[str],
    index: str | None,
    versions: Mapping[str, str] | None = None,
) -> list[Path]:
    """Return the folders of the working set that meets ``requirements``, in order.

    :param versions: pins; the buildout's own if not given
    :param projects: folders of built source trees, preferred to any egg
    :raises OptionError: if one cannot be had
    """
    layout = Layout.of(buildout)
    developed = buildout["buildout"]["develop-eggs-directory"]
    try:
        installer = _installer(
            buildout,
            str(layout.eggs),
            links,
            index,
            versions,
            [*map(str, projects), developed],
            check_picked=True,
        )
        _prefer(installer, projects)
        working_set = installer.install(list(requirements))
    except UserError as error:
        raise OptionError(section, [f"eggs: {' '.join(str(error).split())}"]) from error
    # A working set is in another order when it was downloaded in this run.
    ordered = zc.buildout.easy_install.sort_working_set(
        sorted(working_set, key=lambda dist: dist.key), str(layout.eggs), developed
    )
    return list(dict.fromkeys(Path(dist.location) for dist in ordered))


def _prefer(installer: Any, projects: Sequence[Path]) -> None:
    """Have ``installer`` take ``projects`` for what they are, as it does develop eggs.

    An egg of that name, or a project of somebody else's in an index, may be newer.
    """
    for name in installer._env:
        for found in installer._env[name]:
            if Path(found.location) in projects:
                found.precedence = pkg_resources.DEVELOP_DIST
