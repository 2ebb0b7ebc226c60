"""Patch private names of zc.buildout, each with the defect that it mends.

All of them are for the releases that ``VERSIONS`` names.  ``tests/unit/buildout/test_patches.py``
shows each defect in zc.buildout as it is: when a test there fails, upstream has mended it, and
the patch is to be deleted.  This module has to be the first to import zc.buildout.
"""

import importlib
import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from pylonyard.buildout import installed_cfg
from pylonyard.config.run_state import RunState
from pylonyard.system import atomic, progress
from pylonyard.system.errors import LOOK_FIRST

if TYPE_CHECKING:
    from pylonyard.config.buildout_files import Files

VERSIONS = "6.0."
"""The versions of zc.buildout with these defects: all that begin so."""

log = logging.getLogger("pylonyard")

# What ``zc.buildout.patches`` imports of pip, for ``PackageIndex.process_url`` alone.  These
# placeholders import pip when one of them is called.

_CALLED = {
    "pip._internal.index.collector": ("IndexContent", "parse_links"),
    "pip._internal.index.package_finder": ("_check_link_requires_python",),
}


class TargetPython:
    """A replacement for pip's class of this name, as far as zc.buildout uses it."""

    py_version_info = sys.version_info[:3]


@contextmanager
def pip_imported_late() -> Iterator[None]:
    """Keep pip out of the import of a zc.buildout that has the defect."""
    if "zc.buildout" in sys.modules or not version("zc.buildout").startswith(VERSIONS):
        yield
        return
    standing_in = {name: _module(name, called) for name, called in _CALLED.items()}
    target = ModuleType("pip._internal.models.target_python")
    vars(target)["TargetPython"] = TargetPython
    standing_in[target.__name__] = target
    given = {name: sys.modules[name] for name in standing_in if name in sys.modules}
    sys.modules.update(standing_in)
    try:
        yield
    finally:
        for name in standing_in:
            del sys.modules[name]
        sys.modules.update(given)


def _module(name: str, called: tuple[str, ...]) -> ModuleType:
    module = ModuleType(name)
    vars(module).update({function: _later(name, function) for function in called})
    return module


def _later(module: str, function: str) -> Callable[..., Any]:
    def call(*words: Any, **named: Any) -> Any:
        return getattr(importlib.import_module(module), function)(*words, **named)

    return call


with pip_imported_late():
    from zc.buildout import UserError, buildout, configparser, easy_install

_Installer, _Index = easy_install.Installer, easy_install.AllowHostsPackageIndex
_make_egg = easy_install._move_to_eggs_dir_and_compile
_install, _fetch, _scan_all = easy_install.install, _Installer._fetch, _Index.scan_all
_install_and_load, _dir_hash = buildout._install_and_load, buildout._dir_hash
_parse, _open = configparser.parse, buildout._open


def make_egg(dist: Any, destination: str) -> Any:
    """Install a distribution as an egg of ``destination``, atomically."""
    with atomic.draft(Path(destination)) as folder:
        made = _make_egg(dist, str(folder))
        egg = Path(made.location)
        if egg.parent != folder:
            return made
        place = Path(destination, egg.name)
        atomic.publish(egg, place)
    found = easy_install._get_matching_dist_in_location(dist, str(place))
    if found is None:
        raise UserError(f"{place} has no distribution for {dist}; {LOOK_FIRST}, and run this again")
    found.precedence = easy_install.pkg_resources.EGG_DIST
    return found


def whole_eggs(installer: Any) -> list[str]:
    """Return the eggs of an egg directory, without leftovers of killed runs."""
    return [] if installer._dest is None else sorted(map(str, Path(installer._dest).glob("*.egg")))


def fetch(installer: Any, dist: Any, folder: str, cache: str | None) -> Any:
    """Download a distribution to ``folder``, atomically."""
    if cache is None or os.path.realpath(os.path.dirname(dist.location)) == cache:
        return _fetch(installer, dist, folder, cache)
    what = f"Downloading {dist.project_name} {dist.version}"
    with atomic.draft(Path(folder)) as scratch, progress.of(what):
        found = Path(_fetch(installer, dist, str(scratch), None).location)
        if found.parent != scratch:
            # A file of find-links is not ours, so it is not moved.
            found = Path(shutil.copy2(found, scratch))
        place = found.replace(Path(folder, found.name))
    return dist.clone(location=str(place))


def install(specs: Any, dest: Any, **options: Any) -> Any:
    """Install or find the distributions for ``specs``.

    Without a destination, use the last folder of the search path, which is the egg directory,
    and the download cache as the only index.
    """
    if dest is None and options.get("path") and (cache := _Installer._download_cache):
        dest = options["path"][-1]
        options.update(links=(), index=f"file://{cache}", newest=False)
    return _install(specs, dest, **options)


def scan_all(index: Any, *words: Any) -> None:
    """Read the whole list of an index only if it is a folder."""
    if "://" not in index.index_url or index.index_url.startswith("file:"):
        _scan_all(index)


def not_found_in_index(index: Any, requirement: Any) -> None:
    """Search the whole index; an error names the distribution."""
    index.scan_all()


def load_recipe(spec: str, group: str, entry: str, run: Any) -> Any:
    """Load a recipe once in a run, for all its parts."""
    loaded, key = RunState.of(run).recipes, (spec, group, entry)
    if key not in loaded:
        loaded[key] = _own(spec, group, entry) or _install_and_load(spec, group, entry, run)
    return loaded[key]


def _own(spec: str, group: str, entry: str) -> Any:
    """Load one of our recipes without installing its requirements: bin/buildout has them."""
    ours = easy_install.pkg_resources.working_set.by_key.get("pylonyard")
    point = ours.get_entry_info(group, entry) if ours and spec == "pylonyard" else None
    return point and point.resolve()


def tree_hash(folder: str) -> str:
    """Return a signature of a recipe's distribution, which changes with it.

    The eggs are verified, and each is named by what it is.
    """
    return os.path.basename(folder) if folder.endswith(".egg") else str(_dir_hash(folder))


def copied(option: buildout.SectionKey, memo: Any) -> buildout.SectionKey:
    """Copy an option of a configuration; the items of its history never change."""
    twin = buildout.SectionKey.__new__(buildout.SectionKey)
    twin.value, twin.history = option.value, list(option.history)
    return twin


def parsed(stream: Any, *words: Any) -> Any:
    """Parse a configuration file, and close it if that fails."""
    try:
        return _parse(stream, *words)
    except BaseException:
        stream.close()
        raise


def normalized_extra(name: str) -> str:
    """Return the name of an extra, the same for each of its spellings."""
    return re.sub("[^A-Za-z0-9]+", "-", name).lower()


class Patch(NamedTuple):
    """A name of zc.buildout, its replacement, and the reason."""

    owner: Any
    name: str
    mended: Any
    defect: str


PATCHES = (
    Patch(
        easy_install,
        "_move_to_eggs_dir_and_compile",
        make_egg,
        "a killed run leaves a half-made egg in the egg directory, for ever",
    ),
    Patch(_Installer, "_get_dest_dist_paths", whole_eggs, "such an egg is taken for a whole one"),
    Patch(_Installer, "_fetch", fetch, "a download that is cut short stays in the cache as whole"),
    Patch(
        easy_install,
        "install",
        install,
        "offline, the eggs that buildout installed itself are not found, and the index is read",
    ),
    Patch(
        _Index,
        "scan_all",
        scan_all,
        "for what has no page of its own, an index is asked for the page of all projects, which "
        "takes minutes, and names no such project",
    ),
    Patch(_Index, "not_found_in_index", not_found_in_index, "a warning comes before the error"),
    Patch(
        _Index, "info", easy_install.logger.debug, "each page, and each file, is shown when read"
    ),
    Patch(buildout, "_install_and_load", load_recipe, "a recipe is looked up for each part anew"),
    Patch(
        easy_install.pkg_resources,
        "safe_extra",
        normalized_extra,
        "an extra is unknown by another spelling of its name (PEP 685)",
    ),
    Patch(
        buildout,
        "_dir_hash",
        tree_hash,
        "every file of an egg that has a .dist-info is read, as if somebody were at work there",
    ),
    Patch(buildout.SectionKey, "__deepcopy__", copied, "the configuration is copied several times"),
    Patch(configparser, "parse", parsed, "a file with an error in it stays open"),
)
"""The patches that are set once; :class:`Buildout` overrides private methods too."""

IN_THEIR_OWN_WAY = {
    "_open": "a file that is no UTF-8 ends the run with a traceback",
    "_doing": "what was being done is printed before each error, which says it itself",
    "_buildout_default_options": "there is no setting for the defaults of a project",
    "pip._internal": "half of the time of a start is the import of pip's finder",
    "_path": "what buildout itself runs on is searched for the eggs of an application",
    "_env": "so it is in what is found there (both in packages/zc_installer.py)",
}
"""What is replaced for a run, for an installer, or before the import; and why."""


def apply(defaults: Mapping[str, str]) -> None:
    """Set all patches, and defaults for which zc.buildout has no setting."""
    for patch in PATCHES:
        setattr(patch.owner, patch.name, patch.mended)
    for name, value in defaults.items():
        buildout._buildout_default_options[name] = buildout.SectionKey(value, "DEFAULT_VALUE")


def read_through(files: "Files") -> None:
    """Have zc.buildout read by ``files``; by itself it fails at a byte that is no UTF-8."""
    files.original = _open
    buildout._open = files.opened


def tell_errors(note: Callable[[BaseException | None], object], *, verbose: bool) -> None:
    """Record errors; zc.buildout prints what it was doing, which our errors say themselves."""
    tell = buildout._doing

    def doing() -> None:
        note(sys.exc_info()[1])
        if verbose:
            tell()

    buildout._doing = doing


class Buildout(buildout.Buildout):
    """zc.buildout's, with a record that is whole or absent, and fewer words."""

    configuration: str
    """The name of the configuration file of the run."""
    _recorded_parts: list[str] | None = None
    _handlers: Sequence[list[logging.Handler]] = ()
    show_picked_versions: Any

    def __init__(self, *words: Any, **named: Any) -> None:
        """Read a configuration; zc.buildout fails if another run makes a folder of its caches."""
        for _ in ("download-cache", "its dist", "extends-cache", "eggs-directory"):
            with suppress(FileExistsError):
                super().__init__(*words, **named)
                break
        else:
            super().__init__(*words, **named)

    def _setup_logging(self) -> None:
        """Log once; zc.buildout adds handlers each time, and writes into a terminal's progress."""
        logs = [logging.getLogger(name) for name in ("", "zc.buildout")]
        self._handlers = self._handlers or [list(each.handlers) for each in logs]
        for each, before in zip(logs, self._handlers, strict=True):
            each.handlers[:] = before
        super()._setup_logging()
        if self._is_quiet():
            progress.silence()
        for handler in (*logs[0].handlers, *logs[1].handlers):
            handler.addFilter(_on_a_line_of_its_own)

    def _maybe_upgrade(self) -> None:
        """Stay as we are; zc.buildout would write its own script over ``bin/buildout``."""

    def _is_quiet(self) -> bool:
        return bool(self._log_level > logging.INFO)

    @cached_property
    def record(self) -> installed_cfg.Record:
        """Return the record of installed parts."""
        return installed_cfg.Record(self["buildout"], log.warning)

    def _read_installed_part_options(self) -> Any:
        """Read the record; zc.buildout would delete files because of a truncated one."""
        self.record.repair()
        sections, exists = super()._read_installed_part_options()
        self._recorded_parts = sorted(sections["buildout"]["parts"].split())
        return sections, exists

    def _save_installed_options(self, installed_options: Any) -> None:
        """Write the record atomically; zc.buildout overwrites the existing one."""
        parts = installed_options["buildout"]["parts"].split()
        self._recorded_parts = sorted(parts)
        sections = {name: installed_options[name] for name in ("buildout", *parts)}
        self.record.save(sections, buildout._save_options)

    def _update_installed(self, **options: str) -> None:
        """Change options of the record's first section; zc.buildout appends another one each time.

        It tells the parts after each that it updates, in an order that is the old one again
        when all are: those in between are not written.
        """
        if "parts" in options:
            wanted = sorted(options["parts"].split())
            if len(options) == 1 and wanted == self._recorded_parts:
                return
            self._recorded_parts = wanted
        self.record.update(options)

    def _uninstall(self, names: str) -> None:
        """Delete what a part made in the project only; zc.buildout does anywhere."""
        bounds = self.record.bounds
        for name in filter(None, names.split("\n")):
            if bounds.allow(name) or self.record.is_made_by_part(name):
                super()._uninstall(name)
            elif os.path.lexists(os.path.join(bounds.directory, name)):
                log.warning("%s is kept: it is in none of parts, bin and develop-eggs.", name)

    def _uninstall_part(self, part: str, options: Any) -> None:
        """Report a removed part; zc.buildout also reports each part that it installs again."""
        level = self._logger.level
        if part in self._parts and self._log_level >= logging.INFO:
            self._logger.setLevel(logging.WARNING)
        try:
            super()._uninstall_part(part, options)
        finally:
            self._logger.setLevel(level)

    def _print_picked_versions(self) -> None:
        """Print what has no pin, in one spelling, as lines to copy; zc.buildout adds comments."""
        progress.clear()
        found = easy_install.get_picked_versions()[0]
        picked = dict({easy_install.normalize_name(name): (name, v) for name, v in found}.values())
        easy_install.Installer._picked_versions = picked
        if picked and self.show_picked_versions and not self._is_quiet():
            print("These have no pin, so the newest version of each was installed. To keep")
            print(f"them, copy this to {self.configuration}, or below its [versions]:")
            print("\n[versions]")
            print("".join(f"{name} = {version}\n" for name, version in picked.items()))
        self.show_picked_versions = False
        super()._print_picked_versions()

    def _compute_part_signatures(self, parts: Any) -> None:
        """Compute a recipe's signature once; zc.buildout does so for each part."""
        first: dict[str, str] = {}
        for part in parts:
            recipe = self[part]["recipe"].partition(":")[0]
            if recipe not in first:
                super()._compute_part_signatures([part])
                first[recipe] = self[part]["__buildout_signature__"]
            self[part]["__buildout_signature__"] = first[recipe]


def _on_a_line_of_its_own(record: logging.LogRecord) -> bool:
    """Erase the progress on a terminal before a line is logged there."""
    progress.clear()
    return True
