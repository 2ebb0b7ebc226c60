"""zc.buildout's installer: what it installs for a part, and what it complains of."""

import functools
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zc.buildout
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.tags import sys_tags
from packaging.utils import canonicalize_name
from zc.buildout import easy_install
from zc.buildout.easy_install import pkg_resources
from zc.buildout.utils import get_pth_paths

from pylonyard.config.layout import Layout
from pylonyard.config.run_state import RunState
from pylonyard.packages import archives, metadata, missing
from pylonyard.packages.index import Places
from pylonyard.packages.missing import Missing, Shelf
from pylonyard.packages.resolver import pins, resolution, urls
from pylonyard.packages.resolver.resolution import Request
from pylonyard.system import progress
from pylonyard.system.atomic import Artifact, stage, write
from pylonyard.system.errors import OptionError, PylonyardError

if TYPE_CHECKING:
    from pylonyard.packages.interpreters import Interpreter

log = logging.getLogger("pylonyard")

ExtraSource = Callable[[], str | None]
"""Returns the name of the source archive that another part will need, if any."""


def no_extra_source() -> None:
    """Return None: no other part needs a source archive."""


def fetch(buildout: Any, section: str, requirement: str, *, source: bool = False) -> Path:
    """Return the file of a distribution in the download cache; download it if needed.

    :param requirement: with a version, such as ``pip==20.3.4``
    :param source: whether it has to be a source distribution
    :raises OptionError: if it cannot be had
    """
    layout = Layout.of(buildout)
    try:
        installer = _installer(buildout, None, {})
        wanted = pkg_resources.Requirement.parse(requirement)
        found = installer._obtain(wanted, source)
        if found is None:
            what = "source of " if source else ""
            raise zc.buildout.UserError(f"there is no {what}{requirement}")
        layout.dist.mkdir(parents=True, exist_ok=True)
        return Path(installer._fetch(found, str(layout.dist), str(layout.dist)).location)
    except zc.buildout.UserError as error:
        raise _cannot(section, requirement, layout, error) from error


def tool_path(buildout: Any, section: str, pinned: Sequence[str]) -> list[Path]:
    """Return the folders of one of our tools, with pinned distributions."""
    versions = dict(text.split("==") for text in pinned)
    layout = Layout.of(buildout)
    try:
        installer = _installer(buildout, str(layout.eggs), versions)
        return [Path(dist.location) for dist in installer.install([pinned[0]])]
    except zc.buildout.UserError as error:
        raise _cannot(section, pinned[0], layout, error) from error


def _cannot(section: str, wanted: str, layout: Layout, error: zc.buildout.UserError) -> OptionError:
    reason = " ".join(str(error).split())
    if layout.offline:
        reason += f" (offline, from {layout.dist})"
    return OptionError(section, [f"eggs: cannot get {wanted}: {reason}"])


def _installer(
    buildout: Any,
    destination: str | None,
    versions: Mapping[str, str] | None,
    path: Sequence[str] | None = None,
) -> Any:
    """Return zc.buildout's installer with the settings of this buildout.

    :param path: further folders with what is installed; then it takes nothing but what the
        download cache has
    """
    base = buildout["buildout"]
    layout = Layout.of(buildout)
    from_cache = layout.offline or path is not None
    # A buildout that runs without our defaults does not look into the folder by itself.
    cached = [] if easy_install.Installer._download_cache else [str(layout.dist)]
    installer = easy_install.Installer(
        destination,
        links=cached if from_cache else base["find-links"].split(),
        index=layout.dist.as_uri() if from_cache else base.get("index"),
        path=list(path or ()),
        newest=base.get("newest") == "true" and not from_cache,
        versions=versions,
        allow_hosts=tuple(base["allow-hosts"].split()),
        check_picked=False,
    )
    # It looks among all that buildout itself runs on, too: in a project of somebody's own that is
    # one folder with everything in it, and an application would see it whole.
    if path is not None:
        # The files of the download cache are known; there is no page of each project.
        installer._index.find_packages = lambda requirement: None
    installer._path = list(path or ())
    installer._env = installer._make_env()
    return installer


@dataclass(frozen=True)
class Asked:
    """What a section says of the choice of versions, besides its pins."""

    constraints: Path | None = None
    """A file with constraints, as pip has them."""
    from_index: tuple[str, ...] = ()
    """What the index is asked for even if find-links has it."""
    section: str | None = None
    """The section of the pins, if it is not the buildout's."""
    record: str = ""
    """The name of the choice in the record, if it is not that of the section."""


def locations(
    buildout: Any,
    section: str,
    requirements: Sequence[str],
    projects: Sequence[Path],
    links: Sequence[str],
    index: str | None,
    versions: Mapping[str, str] | None = None,
    extra_source: ExtraSource = no_extra_source,
    asked: Asked = Asked(),
) -> list[Path]:
    """Return the folders of the working set that meets ``requirements``, in order.

    :param versions: pins; the buildout's own if not given
    :param projects: folders of built source trees, preferred to any egg
    :param extra_source: tells which source archive another part will want besides
    :raises OptionError: if one cannot be had
    """
    layout = Layout.of(buildout)
    developed_eggs = buildout["buildout"]["develop-eggs-directory"]
    places = Places.of(buildout, links, index)
    try:
        wanted = request(buildout, requirements, projects, places, versions, asked)
        chosen = resolution.choose(buildout, asked.record or section, wanted)
        tell_picked(buildout, resolution.picked(wanted, chosen))
        there = set(resolution.installed(layout.eggs))
        lacking = [
            each
            for each in chosen
            if each.name in wanted.named or (each.name, each.version) not in there
        ]
        resolution.fetch(layout, places, lacking)
        urls.check_eggs(layout.eggs, layout.dist, wanted.named)
        easy_install._indexes.clear()  # of the download cache, which has more now
        exact = {each.name: each.version for each in chosen}
        path = [*map(str, projects), developed_eggs]
        installer = _installer(buildout, str(layout.eggs), exact, path)
        _prefer(installer, layout.projects, projects)
        # What is unpacked shows itself, once all of it takes long.
        with progress.of(f"Installing the eggs of {section}", alone=False):
            working_set = installer.install([*map(urls.without, requirements)])
    except (PylonyardError, zc.buildout.UserError) as error:
        if layout.offline:
            lacks = _missing(buildout, requirements, projects, versions)
            raise_missing(buildout, section, lacks, places, extra_source=extra_source)
        if isinstance(error, OptionError):
            raise
        raise OptionError(section, [f"eggs: {reason(error, buildout, places)}"]) from error
    # A working set is in another order when it was downloaded in this run.
    ordered = easy_install.sort_working_set(
        sorted(working_set, key=lambda dist: dist.key), str(layout.eggs), developed_eggs
    )
    folders = dict.fromkeys(Path(dist.location) for dist in ordered)
    # The link that other recipes follow to a project, after the first run, changes nothing here.
    return sorted(folders, key=projects.__contains__)


def pins_that_fit(pins: Mapping[str, str], requirements: Sequence[str]) -> dict[str, str]:
    """Return the pins without those that ``requirements`` exclude, as a build's may."""
    fitting: dict[str, str] = {canonicalize_name(name): pin for name, pin in pins.items()}
    for wanted in map(Requirement, requirements):
        name = canonicalize_name(wanted.name)
        if name in fitting and not wanted.specifier.contains(fitting[name], prereleases=True):
            del fitting[name]
    return fitting


def reason(error: Exception, buildout: Any, places: Places) -> str:
    """Return why something cannot be installed, in one line."""
    if isinstance(error, easy_install.MissingDistribution):
        return missing.not_found_message(error, buildout, places)
    if isinstance(error, resolution.NowhereError):
        text = missing.nowhere(error.name, error.wanted, error.by, error.offered, buildout, places)
        return text + error.advice
    return " ".join(str(error).split())


def request(
    buildout: Any,
    requirements: Sequence[str],
    projects: Sequence[Path],
    places: Places,
    versions: Mapping[str, str] | None,
    asked: Asked,
    interpreter: "Interpreter | None" = None,
) -> Request:
    """Return what decides about versions, for buildout's own Python or another.

    :raises CommandError: if pins or constraints cannot be read
    """
    base = buildout["buildout"]
    environment = metadata.environment(interpreter)
    own = {tag: rank for rank, tag in enumerate(sys_tags())} if interpreter is None else {}
    limits = pins.of_section(buildout, versions, asked.section)
    if asked.constraints:
        pins.constraints(asked.constraints, environment, limits)
    layout = Layout.of(buildout)
    return Request(
        requirements=tuple(requirements),
        named=urls.named(requirements, layout.dist, offline=layout.offline),
        places=places,
        limits=limits,
        environment=environment,
        tags=metadata.supported(interpreter) if interpreter else own,
        given=resolution.given(projects, *developed(buildout).values()),
        from_index=frozenset(map(canonicalize_name, asked.from_index)),
        prefer_final=base.get("prefer-final", "true") == "true",
        build=functools.partial(_archive_metadata, layout, places),
    )


def _archive_metadata(layout: Layout, places: Places, archive: Path) -> str:
    options: list[str | Path] = ["--find-links", layout.dist]
    options += ["--no-index"] if layout.offline else places.pip_options()
    variables = {} if layout.offline else places.pip_variables()

    def build(tree: Path, folder: Path) -> str:
        wheel = archives.pip_wheel(tree, folder, options, variables, layout.build_logs)
        return metadata.described(wheel).read_text("METADATA") or ""

    return archives.metadata_of(archive, build)


def tell_picked(buildout: Any, picked: Mapping[str, str]) -> None:
    """Have zc.buildout print versions that nobody has named, after all else.

    :raises PylonyardError: if ``allow-picked-versions`` of the buildout is false
    """
    if picked and buildout["buildout"].get("allow-picked-versions") == "false":
        names, versions = ", ".join(picked), ", ".join(picked.values())
        lines = ", ".join(f"{name} = {version}" for name, version in picked.items())
        lack, fit = ("have no pins", "fit are") if len(picked) > 1 else ("has no pin", "fits is")
        raise PylonyardError(
            f"{names} {lack}, and allow-picked-versions is false; the newest that {fit} "
            f"{versions}: write {lines} below [versions] of your configuration"
        )
    easy_install.Installer._picked_versions.update(picked)


def _missing(
    buildout: Any,
    requirements: Sequence[str],
    projects: Sequence[Path],
    versions: Mapping[str, str] | None,
) -> Missing:
    base, layout = buildout["buildout"], Layout.of(buildout)
    pins = versions if versions is not None else buildout.get(base["versions"]) or {}
    shelf = Shelf(layout.dist, {tag: rank for rank, tag in enumerate(sys_tags())}, layout.eggs)
    environment = {key: str(value) for key, value in default_environment().items()}
    return missing.find(requirements, shelf, pins, environment, projects)


def raise_missing(
    buildout: Any,
    section: str,
    found: Missing,
    searched: Places,
    interpreter: "Interpreter | None" = None,
    extra_source: ExtraSource = no_extra_source,
) -> None:
    """Raise the error about missing distributions, if any are missing.

    :raises OptionError: with the command that fetches it
    """
    layout = Layout.of(buildout)
    if found:
        source = extra_source()
        if source and not (layout.dist / source).exists():
            found |= Missing({source: None})
        python = interpreter.executable if interpreter else None
        words = missing.options(layout, searched, python=python)
        raise OptionError(section, [f"eggs: {found.message(layout, words)}"])


def _prefer(installer: Any, store: Path, projects: Sequence[Path]) -> None:
    """Have ``installer`` use ``projects`` like develop eggs, and no other that we built.

    An egg of that name, or a project of somebody else's in an index, may be newer.  The links of
    the run before lead to what was built then.
    """
    for name in list(installer._env):
        for found in list(installer._env[name]):
            place = Path(found.location)
            if place in projects:
                found.precedence = pkg_resources.DEVELOP_DIST
            elif place.parent == store or place.name.endswith(_OURS):
                installer._env[name].remove(found)  # zc.buildout's own remove mistakes "-"


# The source trees of our sections, as other recipes find them.
#
# They look for develop eggs in ``develop-eggs``.  zc.buildout's own also put their code on the
# path of buildout itself; a link to what we have built does not.

_OURS = ".pylonyard"
"""What our files in ``develop-eggs`` have behind the name of a distribution."""


def developed(buildout: Any) -> dict[str, Distribution]:
    """Return the distributions that ``develop`` of ``[buildout]`` gives, by canonical name."""
    return metadata.distributions([buildout["buildout"]["develop-eggs-directory"]])


def link_projects(buildout: Any, projects: Mapping[Path, tuple[Path, bool]]) -> list[Path]:
    """Have other recipes find built source trees; return the files that this takes.

    A distribution that somebody else put into ``develop-eggs`` stays the one that they find.

    :param projects: for each folder of a built tree the tree, and whether that is used as it stands
    :raises OSError: if a file cannot be written
    """
    folder = Path(buildout["buildout"]["develop-eggs-directory"])
    links = [canonicalize_name(link.stem) for link in folder.glob("*.egg-link")]
    theirs = {*links, *developed(buildout)}
    linked = RunState.of(buildout).linked
    made = []
    for place, (tree, as_it_stands) in projects.items():
        found = metadata.described(place)
        name = metadata.name_of(found)
        if name in theirs:
            continue
        target, link = folder / f"{name}{_OURS}", folder / f"{name}{_OURS}.egg-link"
        if linked.setdefault(name, place) != place:
            log.warning("%s is built in several ways; other recipes find %s.", name, linked[name])
            continue
        made.append(link)
        if as_it_stands:
            stage(target, _as_it_stands(found, place, tree))
            made.append(target)
        write(link, f"{target if as_it_stands else place}\n.".encode())
    return made


def _as_it_stands(found: Distribution, place: Path, tree: Path) -> Iterator[Artifact]:
    """Yield the metadata of a tree, and the folders that its code is imported from.

    zc.buildout reads lines of ``.pth`` files, but runs no code in them.
    """
    info = f"{found.metadata['Name']}-{found.version}.dist-info"
    origin = {"url": tree.as_uri(), "dir_info": {"editable": True}}
    texts = {name: found.read_text(name) for name in ("METADATA", "entry_points.txt")}
    texts["direct_url.json"] = json.dumps(origin)
    texts["RECORD"] = f"{_PTH},,\n"
    yield from (Artifact(f"{info}/{name}", text) for name, text in texts.items() if text)
    folders = get_pth_paths(place) or sorted(set(metadata.mapped(place))) or [tree]
    yield Artifact(_PTH, "".join(f"{folder}\n" for folder in folders))


_PTH = "pylonyard.pth"
