"""zc.buildout itself, where a kill, a full disk or a cut record would do harm.

Its record is replaced whole; it deletes in the sandbox's own folders only; eggs
are made as drafts that the kernel holds for the run; what is downloaded
appears in the cache once it is whole.
"""

import io
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import zc.buildout.easy_install
from zc.buildout import UserError, buildout

from pylonyard.buildout import complaints, fingerprint, installed_cfg, last_run
from pylonyard.config import buildout_files
from pylonyard.config.layout import Layout
from pylonyard.environments import cache_usage, site_account
from pylonyard.system import accounts, atomic, errors, locks, progress
from pylonyard.system.errors import LOOK_FIRST, reason

log = logging.getLogger("pylonyard")

_make_egg = zc.buildout.easy_install._move_to_eggs_dir_and_compile
_install_and_load = buildout._install_and_load
_dir_hash = buildout._dir_hash
_fetch = zc.buildout.easy_install.Installer._fetch


@contextmanager
def in_one_line(run: Any = None) -> Iterator[None]:
    """Tell what a user can mend in one line, not as an internal error."""
    try:
        yield
    except Exception as error:
        line = complaints.told(error, run) or errors.limit_reached(error) or None
        if isinstance(error, OSError) and error.errno in atomic.UNWRITABLE:
            way = accounts.way_back(error) or "mend that, and run again"
            line = f"cannot write {reason(error, os.getcwd())}; {way}"
        if line is None or (isinstance(error, UserError) and str(error) == line):
            raise
        raise UserError(line) from error


class Buildout(buildout.Buildout):
    """zc.buildout's, with a record that is whole or absent."""

    _recorded_parts: list[str] | None = None
    _current = ""
    show_picked_versions: Any

    def __init__(self, *words: Any, **named: Any) -> None:
        self._last: list[str] = []
        self._file = os.path.basename(words[0] if words else "buildout.cfg")
        with in_one_line(self):
            super().__init__(*words, **named)
            buildout_files.check(self, words[1] if len(words) > 1 else ())

    def _setup_logging(self) -> None:
        super()._setup_logging()
        if self._is_quiet():
            progress.silence()
        for log in (logging.getLogger(), self._logger):
            for handler in log.handlers:
                handler.addFilter(_on_a_line_of_its_own)

    def _is_quiet(self) -> bool:
        return bool(self._log_level > logging.INFO)

    def _print_picked_versions(self) -> None:
        """Print what nothing pins as lines to copy, and write them where buildout is to."""
        progress.clear()
        picked = sorted(set(zc.buildout.easy_install.get_picked_versions()[0]))
        if picked and self.show_picked_versions and not self._is_quiet():
            print("Nothing says which version these are to be, so the newest was taken. To stay")
            print(f"with these, copy this into {self._file}, or below its [versions]:")
            print("\n[versions]")
            print("".join(f"{name} = {version}\n" for name, version in picked))
        self.show_picked_versions = False
        super()._print_picked_versions()

    def say_last(self, line: str) -> None:
        """Have a line be told when all else has been."""
        self._last.append(line)

    def _uninstall_part(self, part: str, options: Any) -> None:
        """Tell of a part that is gone; that one is made anew is told as it is installed."""
        level = self._logger.level
        if part in self._parts and self._log_level >= logging.INFO:
            self._logger.setLevel(logging.WARNING)
        try:
            super()._uninstall_part(part, options)
        finally:
            self._logger.setLevel(level)

    def install(self, args: Any) -> None:
        """Do what ``bin/buildout`` does, one run at a time."""
        layout = Layout.of(self)
        with in_one_line(self):
            site_account.expect_writable(layout)
            locks.hold(layout.directory)
            atomic.use(layout.cache)
            self._current = current(layout.directory)
            super().install(args)
        for line in self._last:
            log.info("%s", line)
        last_run.forget(layout.directory)
        try:
            self._keep_copy()
            sweep(layout)
            self._record_use(layout)
            if not args:
                fingerprint.keep(self, layout)
        except OSError as error:
            # The release is current; a run that fails now would say otherwise.
            where = error.filename or layout.directory
            log.warning("cannot write %s: %s.", where, error.strerror)

    def _record_use(self, layout: Layout) -> None:
        pins = self.get(self["buildout"]["versions"]) or {}
        stores = cache_usage.Stores(layout.cache, layout.eggs)
        if not cache_usage.keep(layout.directory, stores, pins):
            log.warning(
                "%s cannot be written, so nobody knows there that this sandbox uses it.",
                layout.cache / cache_usage.USERS,
            )

    def _record(self) -> Path:
        return Path(self["buildout"]["directory"], self["buildout"]["installed"])

    def _copy(self) -> Path:
        return Path(self["buildout"]["directory"], ".pylonyard", self._record().name.lstrip("."))

    def _bounds(self) -> installed_cfg.Bounds:
        base = self["buildout"]
        kinds = ("parts", "bin", "develop-eggs")
        folders = tuple(Path(base[f"{kind}-directory"]) for kind in kinds)
        return installed_cfg.Bounds(Path(base["directory"]), folders)

    def _keep_copy(self) -> None:
        if self["buildout"]["installed"] and self._record().is_file():
            installed_cfg.replace(self._copy(), self._record().read_text(encoding="utf-8"))

    def _read_installed_part_options(self) -> Any:
        if self["buildout"]["installed"]:
            installed_cfg.repair(self._record(), self._copy(), self._bounds(), log.warning)
        sections, exists = super()._read_installed_part_options()
        self._recorded_parts = sorted(sections["buildout"]["parts"].split())
        return sections, exists

    def _save_installed_options(self, installed_options: Any) -> None:
        if not self["buildout"]["installed"]:
            return
        text = io.StringIO()
        parts = installed_options["buildout"]["parts"].split()
        self._recorded_parts = sorted(parts)
        for section in ("buildout", *parts):
            if section != "buildout":
                text.write("\n")
            buildout._save_options(section, installed_options[section], text)
        self._write_record(text.getvalue())

    def _update_installed(self, **options: str) -> None:
        """Change options of the record's first section.

        Buildout tells the parts again after each that it updates, in an order that
        is the old one again when all are: those in between are not written.
        """
        if "parts" in options:
            wanted = sorted(options["parts"].split())
            if len(options) == 1 and wanted == self._recorded_parts:
                return
            self._recorded_parts = wanted
        record = self._record()
        try:
            text = record.read_text(encoding="utf-8")
        except FileNotFoundError:
            return  # It could not be written before.
        self._write_record(installed_cfg.updated(text, options))

    def _write_record(self, text: str) -> None:
        """Write the record; one that cannot be true any more is removed instead.

        That is no reason to fail if the run has made a new release current already.
        """
        record = self._record()
        try:
            installed_cfg.replace(record, text)
        except OSError as error:
            if error.errno not in atomic.UNWRITABLE:
                raise
            if record.exists():
                record.unlink()
            if current(record.parent) == self._current:
                raise
            where, why = error.filename or record, error.strerror
            log.warning("cannot write %s: %s; the next run installs all anew.", where, why)

    def _compute_part_signatures(self, parts: Any) -> None:
        """Compute a recipe's signature once, however many parts are of it."""
        first: dict[str, str] = {}
        for part in parts:
            options = self[part]
            recipe = options["recipe"].partition(":")[0]
            if recipe not in first:
                super()._compute_part_signatures([part])
                first[recipe] = options["__buildout_signature__"]
            options["__buildout_signature__"] = first[recipe]

    def _uninstall(self, names: str) -> None:
        """Delete what a part made, if it is in the sandbox's own folders."""
        bounds = self._bounds()
        for name in filter(None, names.split("\n")):
            if bounds.allow(name):
                super()._uninstall(name)
            elif os.path.lexists(os.path.join(bounds.directory, name)):
                log.warning("%s is kept: it is in none of parts, bin and develop-eggs.", name)


def _on_a_line_of_its_own(record: logging.LogRecord) -> bool:
    """Take away what is drawn on a terminal, before a line is logged there."""
    progress.clear()
    return True


def current(directory: Path) -> str:
    """Return the target of a sandbox's link to its live release; '' if there is none."""
    try:
        return os.readlink(directory / "current")
    except OSError:
        return ""


def sweep(layout: Layout) -> None:
    """Remove what killed runs left half-made in the stores, and among the releases."""
    cached = (layout.eggs, layout.sandboxes, layout.projects, layout.dist)
    for store in (*cached, layout.cache / "mod_wsgi", layout.releases):
        atomic.sweep(store)


def make_egg(dist: Any, destination: str) -> Any:
    """Install a distribution as an egg of ``destination``, whole or not at all."""
    with atomic.draft(Path(destination)) as folder:
        made = _make_egg(dist, str(folder))
        egg = Path(made.location)
        if egg.parent != folder:
            return made
        place = Path(destination, egg.name)
        try:
            egg.rename(place)
        except OSError:
            # Another run may have been faster; its egg is whole as well.
            if not place.is_dir():
                raise
    found = zc.buildout.easy_install._get_matching_dist_in_location(dist, str(place))
    if found is None:
        raise UserError(f"{place} has no distribution for {dist}; {LOOK_FIRST}, and run this again")
    found.precedence = zc.buildout.easy_install.pkg_resources.EGG_DIST
    return found


def whole_eggs(installer: Any) -> list[str]:
    """Return the eggs of an egg directory, and not what a killed run was about to make."""
    return [] if installer._dest is None else sorted(map(str, Path(installer._dest).glob("*.egg")))


def fetch(installer: Any, dist: Any, folder: str, cache: str | None) -> Any:
    """Bring a distribution into ``folder``, whole or not at all."""
    if cache is None or os.path.realpath(os.path.dirname(dist.location)) == cache:
        return _fetch(installer, dist, folder, cache)
    what = f"Downloading {dist.project_name} {dist.version}"
    with atomic.draft(Path(folder)) as scratch, progress.of(what):
        found = Path(_fetch(installer, dist, str(scratch), None).location)
        if found.parent != scratch:
            # A file of find-links is not ours to move.
            found = Path(shutil.copy2(found, scratch))
        place = Path(folder, found.name)
        found.replace(place)
    return dist.clone(location=str(place))


def load_recipe(spec: str, group: str, entry: str, run: Any) -> Any:
    """Load a recipe once in a run, however many parts are of it."""
    loaded: dict[tuple[str, str, str], Any] = vars(run).setdefault("_pylonyard_recipes", {})
    key = (spec, group, entry)
    if key not in loaded:
        loaded[key] = _own(spec, group, entry) or _install_and_load(spec, group, entry, run)
    return loaded[key]


def _own(spec: str, group: str, entry: str) -> Any:
    """Load a recipe of ours; what it needs is there, as bin/buildout runs on it."""
    ours = zc.buildout.easy_install.pkg_resources.working_set.by_key.get("pylonyard")
    point = ours.get_entry_info(group, entry) if ours and spec == "pylonyard" else None
    return point and point.resolve()


def tree_hash(folder: str) -> str:
    """Return what tells one state of a recipe's distribution from another.

    zc.buildout reads every file of each that has a ``.dist-info``, as if somebody were at
    work there.  The eggs are verified, and each is named by what it is.
    """
    return os.path.basename(folder) if folder.endswith(".egg") else str(_dir_hash(folder))


def copied(option: buildout.SectionKey, memo: Any) -> buildout.SectionKey:
    """Copy an option of a configuration; nobody changes an item of its history.

    zc.buildout copies all of its configuration several times, item by item.
    """
    twin = buildout.SectionKey.__new__(buildout.SectionKey)
    twin.value, twin.history = option.value, list(option.history)
    return twin


def prepare() -> None:
    """Have zc.buildout do all of this."""
    buildout_files.prepare()
    buildout.SectionKey.__deepcopy__ = copied
    buildout.Buildout = Buildout
    buildout._install_and_load = load_recipe
    buildout._dir_hash = tree_hash
    zc.buildout.easy_install._move_to_eggs_dir_and_compile = make_egg
    zc.buildout.easy_install.Installer._get_dest_dist_paths = whole_eggs
    zc.buildout.easy_install.Installer._fetch = fetch
