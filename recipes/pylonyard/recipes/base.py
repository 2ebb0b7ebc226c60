"""Parse a section, render its templates, and speak zc.buildout's protocol: for all recipes.

A recipe is a subclass of ``Recipe``.  It declares its options as the fields of a frozen
dataclass, each an ``option``, and returns files, whose texts it makes by ``render``.
"""

import dataclasses
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import zc.buildout

from pylonyard.config import converters
from pylonyard.config.layout import Layout, path_problem
from pylonyard.config.run_state import RunState, released_sections
from pylonyard.environments import eggs_venv, site_account
from pylonyard.packages import zc_installer
from pylonyard.packages.wheels import WheelError
from pylonyard.releases import servers, store
from pylonyard.server.status import RUNNING
from pylonyard.system import accounts, atomic, safe_files
from pylonyard.system.atomic import Artifact, Link, stage
from pylonyard.system.errors import LOOK_FIRST, OptionError, PylonyardError, UserError, reason
from pylonyard.system.options import converted, declare, name_of, nearest
from pylonyard.system.rootfs import SEARCH, WRITE

log = logging.getLogger("pylonyard")

FOR_GROUP = 0o640
"""The mode of a file that the account of its site has to read, and no other may."""

PROXY = ("proxy",)
"""The mode in which a site has a server of its own."""

HOME_OR_EGGS = "home: expected an environment, or eggs to make one of, got neither"

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from jinja2 import BytecodeCache, Environment


T = TypeVar("T", bound="DataclassInstance")

_OF_SECTION = re.compile(r"\$\{:([a-z-]+)\}")


# The options of a section.


def option(
    convert: Callable[[str], Any] = str,
    default: str | None = None,
    kind: str = "",
    group: str = "",
    modes: tuple[str, ...] = (),
) -> Any:
    """Declare an option, as a field of a frozen dataclass; its docstring is its documentation.

    ``benchmarks/option_tables.py`` makes the table on the recipe's page of these declarations.
    In the docstring, ``{default}`` stands for the default; elsewhere the table has it beside the
    kind.

    :param convert: gives the value for a text; raises ``ValueError`` with
        "expected ..., got ..." if it cannot
    :param default: the text when the section omits the option, written as in
        buildout.cfg, where ``${:name}`` is another option of the section; without one the
        option is required
    :param kind: what a person writes, as the table says it
    :param group: a heading in the table, above this option
    :param modes: the values of the option ``mode`` in which it has an effect; empty for all
    """
    return declare(convert, default, kind=kind, group=group, modes=modes)


def parse(
    declaration: type[T],
    section: str,
    texts: Mapping[str, str],
    directory: Path = Path("/"),
) -> T:
    """Return the ``declaration`` that the ``texts`` of ``section`` describe.

    Relative paths are taken from ``directory``.  Other names are left to the
    section's own use, unless they look like typos.

    :raises OptionError: naming every missing, malformed or mistyped option
    """
    values, found = converted(
        declaration,
        texts,
        lambda default: _OF_SECTION.sub(lambda match: texts.get(match[1], ""), default),
    )
    defaults = {name_of(f): f.metadata["default"] for f in dataclasses.fields(declaration)}
    # What is wrong in another option of the section is said of that.
    copies = {n for n in set(found) - set(texts) if _OF_SECTION.search(defaults[n] or "")}
    problems = [f"{name}: {problem}" for name, problem in found.items() if name not in copies]
    problems += _typos(set(texts) - set(defaults), defaults)
    if found or problems:
        raise OptionError(section, problems or [f"{name}: {found[name]}" for name in found])
    return declaration(**{name: _anchored(value, directory) for name, value in values.items()})


def _anchored(value: Any, directory: Path) -> Any:
    if isinstance(value, Path):
        return directory / value
    if isinstance(value, tuple):
        return tuple(_anchored(item, directory) for item in value)
    return value


def site_folders(options: Any) -> Mapping[Path, int]:
    """Return the folders that a site writes to, with their modes."""
    return {options.log_folder: 0o755, options.run_folder: 0o755, options.data: 0o750}


def _typos(unknown: set[str], known: Mapping[str, Any]) -> list[str]:
    return [
        f"{name}: unknown, did you mean {near}?"
        for name in sorted(unknown)
        if (near := nearest(name, known))
    ]


# The protocol of zc.buildout.


def _as_buildout_error(kind: type[PylonyardError]) -> type[PylonyardError]:
    """Return a subclass of our error class that is zc.buildout's ``UserError`` as well."""
    return type(kind.__name__, (kind, zc.buildout.UserError), {"__module__": kind.__module__})


@contextmanager
def errors_for_buildout() -> Iterator[None]:
    """Make our errors zc.buildout's, which ends with one line and status 1."""
    try:
        yield
    except PylonyardError as error:
        if not isinstance(error, zc.buildout.UserError):
            error.__class__ = _as_buildout_error(type(error))
        raise


class Recipe:
    """Write the artifacts that a section describes to ``parts/<section>``.

    Everything that bad options can make fail happens in ``__init__``, which buildout calls for
    every part before it uninstalls or installs any.
    """

    declaration: ClassVar[type[Any]]

    def __init_subclass__(cls) -> None:
        """Wrap a recipe's ``install`` and ``update`` in :func:`errors_for_buildout`."""
        for name in {"install", "update"} & vars(cls).keys():
            setattr(cls, name, errors_for_buildout()(vars(cls)[name]))

    @errors_for_buildout()
    def __init__(self, buildout: Any, name: str, options: Any) -> None:
        self.buildout = buildout
        self.name = name
        self.layout = Layout.of(buildout)
        if why := path_problem(self.layout.directory):  # if the run was not started by our program
            raise UserError(f"[{name}] {why}")
        self.state = RunState.of(buildout)
        self.state.locks.hold_sandbox(self.layout.directory)
        self.settings = parse(self.declaration, name, options, self.layout.directory)
        self.state.note_paths(*vars(self.settings).values())
        self._warn_of_other_modes(options)
        self.location = self.layout.parts / name
        if self.state.released_sections is None:
            self.state.released_sections = released_sections(buildout, name)
        self.is_released = name in self.state.released_sections
        self.live = self.layout.current if self.is_released else self.location
        """The folder in which other programs find the files of this part."""
        self.prepare()
        self.files = self._render_all()
        # Read by other parts as ${<section>:<option>}; nothing else is set.
        for option, value in self.published().items():
            options[option] = str(value)
        options["location"] = str(self.location)

    def _warn_of_other_modes(self, options: Mapping[str, str]) -> None:
        """Warn of options without an effect in this mode: a file that sites share may set them."""
        mode = getattr(self.settings, "mode", "")
        unused = [
            name
            for field in dataclasses.fields(self.settings)
            if (modes := field.metadata["modes"]) and mode not in modes
            for name in [field.name.replace("_", "-")]
            if options.get(name, field.metadata["default"]) != field.metadata["default"]
        ]
        if unused:
            told = "[%s] %s: no effect in mode %s"
            log.warning(told, self.name, ", ".join(unused), mode)

    def prepare(self) -> None:
        """Prepare what rendering needs; this may write to the cache, and nowhere else."""

    def artifacts(self) -> Iterable[Artifact | Link]:
        """Return the files of this part; a pure function of its options."""
        return ()

    def published(self) -> Mapping[str, Any]:
        """Return the options that other parts may read."""
        return {}

    def folders(self) -> Mapping[Path, int]:
        """Return the folders that programs of this part write to, with their modes.

        In a release, the part of the site makes them.
        """
        return {}

    def _render_all(self) -> list[Artifact | Link]:
        try:
            return list(self.artifacts())
        except ValueError as error:
            raise OptionError(self.name, [str(error)]) from error

    @errors_for_buildout()
    def install(self) -> Iterable[str]:
        """Write the files; return what buildout may delete later."""
        links: list[Path] = []
        try:
            stage(self.location, self.files)
            if not self.is_released:
                links = self._link_into_bin()
                self._serve_account()
        except OSError as error:
            where = reason(error, self.location)
            raise UserError(f"[{self.name}] cannot write {where}") from error
        # buildout installs a part again in each run if a path that it returned is missing. It
        # deletes in this order, and passes over a link that leads nowhere.
        return [str(path) for path in (*links, self.location)] if self.files else []

    update = install

    def _link_into_bin(self) -> list[Path]:
        """Link the commands of a part outside any release into ``bin/``."""
        links = []
        for artifact in self.files:
            folder, _, name = artifact.path.partition("/")
            if folder == "bin":
                place, target = self.layout.bin / name, self.location / artifact.path
                if os.path.lexists(place) and not self._may_replace(place, target):
                    raise UserError(
                        f"[{self.name}] {place}: expected none, or our link, got another file; "
                        f"{LOOK_FIRST}"
                    )
                atomic.link(place, os.path.relpath(target, place.parent))
                links.append(place)
        return links

    def _may_replace(self, place: Path, target: Path) -> bool:
        """Return whether a command in ``bin/`` is this part's, or of a release of earlier runs."""
        if not place.is_symlink():
            return False
        leads_to = os.path.normpath(place.parent / os.readlink(place))
        former = self.layout.current / "bin" / place.name
        return leads_to == str(target) or (
            leads_to == str(former) and not self.state.released_sections
        )

    def _serve_account(self) -> None:
        """Make the folders that the part's account writes to, and let it read its files."""
        user = getattr(self.settings, "user", "")
        for folder, mode in self.folders().items():
            warning = ""
            if folder.is_dir():
                who = site_account.on_machine(user) if accounts.entry(user) else None
                if who and not site_account.may(who, folder, WRITE | SEARCH):
                    warning = "[%s] %s belongs to another account: let %s write there"
            elif accounts.can_act_as(user):
                safe_files.make_folder(folder, mode, accounts.new_owner(user))
            else:
                warning = "[%s] %s is missing: make it, for %s"
            if warning:
                log.warning(warning, self.name, folder, user)
        for file in self.files:
            if isinstance(file, Artifact) and file.mode == FOR_GROUP:
                path = self.location / file.path
                if not store.give_to_group(path, file.mode, accounts.gid(user)):
                    warning = "[%s] %s: run buildout as root, to let %s read it"
                    log.warning(warning, self.name, path, user)

    def environment(self, home: Path | None, eggs: tuple[str, ...]) -> Path | None:
        """Return the environment of the option ``home``, or one made of ``eggs``.

        :raises OptionError: if one of ``eggs`` cannot be had
        """
        if home or not eggs:
            return home
        if eggs not in self.state.homes:
            found = zc_installer.locations(self.buildout, self.name, eggs, [], (), None)
            store = self.layout.environments
            try:
                self.state.homes[eggs] = eggs_venv.make(store, found, with_data=True)
            except WheelError as error:
                raise OptionError(self.name, [f"eggs: {error}"]) from error
        return self.state.homes[eggs]

    def environment_link(self, home: Path | None) -> Iterator[Link]:
        """Yield the link ``env`` of a site, unless a part ``pylons_app`` of its release does."""
        if home and not (self.state.released_sections or {}).get(self.name):
            yield Link(f"{self.settings.name}/env", str(home))


# What uninstalling has to ask. zc.buildout uninstalls a part that changed, too, and installs it
# again in the same run.


def makes(run: Any, command: str) -> bool:
    """Return whether a part of a run makes a command in ``bin/``.

    :param run: the zc.buildout; when it uninstalls, each of its parts is initialised
    """
    recipes = [getattr(run[part], "recipe", None) for part in run._parts]
    files = [file for recipe in recipes for file in getattr(recipe, "files", ())]
    return any(getattr(file, "path", "") == f"bin/{command}" for file in files)


@errors_for_buildout()
def expect_stopped(section: str, options: Any, command: str) -> None:
    """Refuse to have the command of a server deleted while that runs: nothing could stop it then.

    :param options: those with which the part was installed
    :raises UserError: if it runs, and no part of this run makes the command
    """
    script = Path(options["location"], "bin", command).resolve()
    linked = (Layout.of(options.buildout).bin / command).resolve()
    if makes(options.buildout, command) or script != linked or not script.is_file():
        return
    if (
        servers.run_command(script, "status", converters.account(options.get("user", "")))[0]
        == RUNNING
    ):
        raise UserError(
            f"[{section}] its server runs, and nothing could stop it without this part: "
            f"bin/{command} stop; then run buildout again"
        )


# The templates are in this folder.


Escaper = Callable[[Any], str]


@cache
def _templates(escapers: tuple[Escaper, ...]) -> "Environment":
    # Imported here: a run that finds nothing to render need not pay for it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        bytecode_cache=_bytecode_cache(),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    own = (converters.sh, converters.ini, converters.python)
    for escaper in (*own, *escapers):
        templates.filters[escaper.__name__] = escaper
    return templates


def _bytecode_cache() -> "BytecodeCache | None":
    """Return the folder of compiled templates: beside compiled modules, if we may write there."""
    from jinja2 import FileSystemBytecodeCache

    folder = Path(__file__).with_name("__pycache__")
    if not os.access(folder, os.W_OK):
        return None
    return FileSystemBytecodeCache(str(folder), "template-%s.cache")


def render(template: str, options: Any, *escapers: Escaper, **more: Any) -> str:
    """Return ``template`` filled with the fields of ``options`` and ``more``.

    :param escapers: for other syntaxes than ``config.converters`` has, as filters of their names
    :raises ValueError: if a value cannot be spelled in the template's syntax
    """
    fields = {f.name: getattr(options, f.name) for f in dataclasses.fields(options)}
    return _templates(escapers).get_template(template).render({**fields, **more})
