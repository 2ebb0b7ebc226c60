"""A distribution that is nowhere: its name, and where it was looked for.

The defect of zc.buildout 6.0: what has no page in an index is looked for in the page of
all projects, which a large index takes minutes to give; and no index of today names a
project there that has no page of its own.

The mend: an index is asked for that project's page alone.  A folder, in which all files
lie side by side, is still read.
"""

from typing import Any

from zc.buildout import easy_install

from pylonyard.archives import identified
from pylonyard.config_files import near
from pylonyard.index_pages import Places
from pylonyard.layout import Layout

_scan_all = easy_install.AllowHostsPackageIndex.scan_all
OFFERED = 3
"""So many of the versions that there are get told, the newest ones."""


def scan_all(index: Any, *words: Any) -> None:
    """Look through all that an index has, if it is a folder."""
    if "://" not in index.index_url or index.index_url.startswith("file:"):
        _scan_all(index)


def not_found_in_index(index: Any, requirement: Any) -> None:
    """Look further; the error that comes of it, if one does, tells the name."""
    index.scan_all()


def told(error: easy_install.MissingDistribution, run: Any, places: Places) -> str:
    """Return what is missing, who wants it, where it was looked for, and what may be meant.

    :param run: zc.buildout
    """
    requirement, working_set = error.data
    layout = Layout.of(run)
    wanted_by = [dist for dist in working_set if requirement.key in _required(dist)]
    by = f", which {wanted_by[0].project_name} needs" if wanted_by else ""
    text = f"cannot have {requirement}{by}: "
    if offered := _offered(requirement, places):
        return f"{text}there is only {', '.join(offered)}"
    looked = [str(layout.dist), *places.links]
    index = "" if layout.offline else f", nor is there a page of it in the index {_index(places)}"
    return f"{text}it is not in {', '.join(looked)}{index}{_meant(requirement, run, layout)}"


def _required(dist: Any) -> set[str]:
    return {requirement.key for requirement in dist.requires()}


def _index(places: Places) -> str:
    return places.index or str(easy_install.default_index_url)


def _offered(requirement: Any, places: Places) -> list[str]:
    """Return versions that there are, though not wanted ones; the index was read already."""
    found = {
        dist.parsed_version
        for (url, _), index in easy_install._indexes.items()
        if url == places.index
        for dist in index[requirement.key]
    }
    return [f"{requirement.project_name} {v}" for v in sorted(found)[-OFFERED:]]


def _meant(requirement: Any, run: Any, layout: Layout) -> str:
    """Return "; did you mean ...?" of the names that are known here."""
    known = set(run.get(run["buildout"]["versions"]) or {})
    if layout.dist.is_dir():
        found = (identified(path.name) for path in layout.dist.iterdir())
        known |= {each.name for each in found if each}
    return near(requirement.key, {name.lower() for name in known} - {requirement.key}, 0.8)


def apply() -> None:
    """Mend zc.buildout."""
    easy_install.AllowHostsPackageIndex.scan_all = scan_all
    easy_install.AllowHostsPackageIndex.not_found_in_index = not_found_in_index
