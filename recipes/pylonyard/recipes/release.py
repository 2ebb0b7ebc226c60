"""Recipe ``release``: check the files of all other parts, and make them live at once.

Publishes ``current`` (the link to the live release).
"""

import logging
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pylonyard.config import configuration, converters
from pylonyard.environments import scripts, site_account
from pylonyard.packages import interpreters
from pylonyard.recipes import site_changes
from pylonyard.recipes.base import Recipe, option
from pylonyard.releases import contents, next_steps, servers, store, trial
from pylonyard.releases.store import ALWAYS, Releases, Staged, link_commands, occupied_commands
from pylonyard.releases.validators import Draft, validate
from pylonyard.system import accounts, active_note
from pylonyard.system.active_note import NotedSite
from pylonyard.system.atomic import Artifact, Link
from pylonyard.system.errors import LOOK_FIRST, ActivationError, OptionError, UserError, reason
from pylonyard.system.listeners import reachable
from pylonyard.system.rootfs import Tree
from pylonyard.webservers import registry

log = logging.getLogger("pylonyard")


def _private_port(one: registry.WebServer) -> str:
    """Return the option that the part of a site's web server publishes, if it has a private one."""
    return f"{one.private}-port"


_PRIVATE_PORTS = {_private_port(one): one.name for one in registry.servers() if one.private}

UNCHANGED_MESSAGE = "Release %s is current; nothing has changed."


LOAD = converters.one_of("true", "false", "network")


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a section."""

    sites: tuple[str, ...] = option(
        converters.listed(converters.section_name), kind="section names"
    )
    """The sites to release: sections of the recipe ``site``."""
    keep: int = option(converters.whole(1, 1000, "(releases)"), default="5", kind="1 to 1000")
    """How many releases to keep for a rollback; the active one, and the one before it, always
    stay."""
    unchecked: str = option(
        converters.one_of("refuse", "allow", "default"),
        default="default",
        kind="``refuse``, ``allow``, ``default``",
    )
    """What to do with a file whose validator is not installed; ``default`` refuses it unless all
    sites are in development."""
    load: str = option(LOAD, default="true", kind="``true``, ``false``, ``network``")
    """Whether each application is loaded once before it goes live; ``network`` lets it use one."""
    change: str = option(
        converters.one_of("refuse", "allow"), default="refuse", kind="``refuse``, ``allow``"
    )
    """Whether an active or running site may get another environment or mode, and an inactive one
    another account; on the command line only."""


@dataclass(frozen=True)
class Site:
    """A site, as its parts describe it."""

    name: str
    user: str
    environment: str
    sections: tuple[str, ...]
    port: int
    """The port of its own server, or of its private web server."""
    host: str
    """The address of the server, without brackets."""
    webserver: str
    """The web server that runs the application; empty if a server of the site's own does."""
    setup: contents.Setup | None


class Release(Recipe):
    declaration = Options
    settings: Options

    def prepare(self) -> None:
        """Have buildout initialise every part of every site, in order."""
        if not self.settings.sites:
            raise OptionError(self.name, ["sites: expected at least one section, got ''"])
        self.releases = Releases(self.layout.releases, self.layout.current)
        # Names and ports used twice are found before any part makes a secret.
        sites = [self._site_options(section) for section in self.settings.sites]
        names = [site["name"] for site in sites]
        ports = [site["port"] for site in sites if site["mode"] == "proxy"]
        if problems := [
            f"sites: expected {what} for each, got {', '.join(twice)} twice"
            for what, twice in (("a name", _duplicates(names)), ("a port", _duplicates(ports)))
            if twice
        ]:
            raise OptionError(self.name, problems)
        self.notices: list[str] = []
        self._check_run(sites)
        self.sites = [self._site(site) for site in sites]
        parts = [section for site in self.sites for section in site.sections]
        if set(parts) - set(self.state.released_sections or ()):
            problem = f"parts of [buildout]: expected {self.name} among them, got none"
            raise OptionError(self.name, [problem])
        self.stagings = {p: Path(self.buildout[p]["location"]) for p in parts}

    def _check_run(self, sites: list[Mapping[str, str]]) -> None:
        """Check that the run is allowed and can succeed, before anything is made."""
        wanted = {s["name"]: NotedSite(s["environment"], s["mode"], s["user"]) for s in sites}
        is_meant = self.settings.change == "allow"
        source = self.buildout._annotated[self.name]["change"].source if is_meant else ""
        if is_meant and source != "COMMAND_LINE_VALUE":
            place = (
                "change: expected refuse in the configuration (allow works on the command "
                "line), got 'allow'"
            )
            raise OptionError(self.name, [place])
        self.notices += self._check_changes(wanted, is_meant=is_meant)
        layout, environments = self.layout, {site["environment"] for site in sites}
        if warning := site_account.root_warning(layout.directory):
            self.notices.append(warning)
        if environments != {"development"} and (why := site_account.root_problem(layout.directory)):
            raise UserError(f"[{self.name}] {why}")
        problems = []
        for options in sites:
            site = site_account.SiteAccount(
                options["name"], options["user"], options["environment"]
            )
            needed = [layout.directory, layout.cache, layout.eggs]
            why = site_account.reach_problem(site, needed, self._other_interpreter(options))
            if why := why or site_account.data_problem(site, layout.var):
                problems.append(why)
        if problems:
            raise OptionError(self.name, [f"sites: {problem}" for problem in problems])

    def _check_changes(self, wanted: Mapping[str, NotedSite], *, is_meant: bool) -> list[str]:
        words = sys.argv[1:]
        try:
            if is_meant:
                site_changes.expect_account_kept(self.releases, wanted)
                return []
            places = (self.releases, self.layout.bin)
            return site_changes.expect_no_change(*places, wanted, words, self.name)
        except ActivationError as error:
            raise UserError(f"[{self.name}] {error}") from error

    def _other_interpreter(self, options: Mapping[str, str]) -> Path | None:
        """Return the interpreter of a site; None if it is ours, or not known yet."""
        for section in options["sections"].split():
            raw = self.buildout._raw[section]
            command = raw.get("python", "")
            if raw.get("recipe", "").endswith(":pylons_app") and command and "$" not in command:
                with suppress(ValueError):
                    return interpreters.find(command).executable
        return None

    def _site_options(self, section: str) -> Mapping[str, str]:
        # Not buildout.get: it would report any section missing further down as this one.
        if section not in self.buildout._raw:
            raise OptionError(self.name, [f"sites: expected a section, got {section!r}"])
        options: Mapping[str, str] = self.buildout[section]
        if "sections" not in options:
            problem = f"sites: expected a section of recipe pylonyard:site, got {section!r}"
            raise OptionError(self.name, [problem])
        return options

    def _site(self, options: Mapping[str, str]) -> Site:
        sections = tuple(options["sections"].split())
        published = {
            key: part[key]
            for name in sections
            for part in [self.buildout[name]]
            for key in part
            if key in (*_PRIVATE_PORTS, "setup", "database")
        }
        for name in sections:
            # An activation makes the site's own account, and no other.
            user = self.buildout[name].get("user") or options["user"]
            if user != options["user"] and (problem := accounts.missing(user)):
                raise OptionError(name, [f"user: {problem}"])
        webserver, port = "", options["port"]
        if options["mode"] != "proxy":
            found = (_PRIVATE_PORTS[key] for key in published if key in _PRIVATE_PORTS)
            webserver = next(found, registry.DEFAULT)
            port = published[_private_port(registry.server(webserver))]
        setup = contents.Setup(options["name"], options["user"], published.get("database", ""))
        return Site(
            name=options["name"],
            user=options["user"],
            environment=options["environment"],
            sections=sections,
            host="127.0.0.1" if webserver else reachable(options["host"].strip("[]")),
            port=int(port),
            webserver=webserver,
            setup=setup if published.get("setup") == "true" else None,
        )

    def artifacts(self) -> Iterator[Artifact | Link]:
        layout = self.layout
        words = [repr(str(path)) for path in (layout.directory, layout.bin)]
        yield Artifact(
            f"bin/{ALWAYS}",
            scripts.tool_script(
                self.layout.directory, "pylonyard.commands.main", *words, with_tools=True
            ),
            0o755,
        )

    def published(self) -> Mapping[str, Any]:
        return {"current": self.layout.current}

    def install(self) -> Iterable[str]:
        """Make the staged files the current release, unless it has them already."""
        created = super().install()
        staged = self._collect_staged()
        number = self.releases.current_number()
        if number is not None:
            self._check_stopped(servers.commands(self.releases.path(number), staged.commands))
        if number is not None and self._is_unchanged(staged, number):
            log.info(UNCHANGED_MESSAGE, self._release_name(number))
        else:
            before, number = number, self._make_release(staged)
            self._link_commands_or_undo(before)
            log.info("Release %s is current.", self._release_name(number))
        left = self._left_for_activation(staged, number)
        for line in [*self.notices, *left.values()]:
            log.info("%s", line)
        self._link_commands()
        served = [self._served_site(site, left) for site in self.sites]
        for line in next_steps.next_lines(self.layout.directory, number, served):
            # With our buildout, this comes after buildout's own last lines.
            getattr(self.buildout, "say_last", log.info)(line)
        if watch := self.state.watch:
            watch.messages = [UNCHANGED_MESSAGE % self._release_name(number), *left.values()]
            directory = str(self.layout.directory)
            sites = [each._asdict() for each in served]
            watch.next = {"directory": directory, "release": number, "sites": sites}
        return created

    update = install

    def _left_for_activation(self, staged: Staged, number: int) -> dict[str, str]:
        """Let each account read its files; return what is left for an activation to do."""
        folder = self.releases.path(number)
        unread = staged.share(folder, {site.name: accounts.gid(site.user) for site in self.sites})
        unset = {setup.site for setup in contents.due_setups(folder, self.layout)}
        activation = accounts.as_root("bin/pylonyard activate")
        return {
            site.name: f"{site.name}: left for {activation}: {', '.join(what)}"
            for site in self.sites
            if (what := list(self._missing_for(site, site.name in unread, site.name in unset)))
        }

    def _served_site(self, site: Site, left: Collection[str]) -> next_steps.SiteStart:
        host = f"[{site.host}]" if ":" in site.host else site.host
        return next_steps.SiteStart(
            name=site.name,
            user=site.user,
            environment=site.environment,
            address=f"http://{host}:{site.port}/",
            host=site.host,
            port=site.port,
            webserver=site.webserver,
            waits=site.name in left,
        )

    def _missing_for(self, site: Site, is_unread: bool, is_unset: bool) -> Iterator[str]:
        if accounts.entry(site.user) is None:
            yield f"to make the account {site.user}, which is not on this machine"
        elif is_unread:
            yield f"to let {site.user} read production.ini"
        if not all(map(Path.is_dir, site_account.written_paths(self.layout.var, site.name))):
            yield "to make its folders in var"
        if is_unset:
            yield "paster setup-app"

    def _is_unchanged(self, staged: Staged, number: int) -> bool:
        """Return whether a release has the staged files, and an intact manifest."""
        there = staged.equals_release(self.releases.path(number))
        said = self.releases.manifest(number)
        # A manifest of an older Pylonyard has no environments.
        same = said.get("environments", self._environments()) == self._environments()
        return there and bool(said) and same

    def _environments(self) -> dict[str, str]:
        return {site.name: site.environment for site in self.sites}

    def _configuration(self) -> str:
        """Return the configuration file of this run, relative to the checkout."""
        return configuration.of_run(sys.argv[1:], self.layout.directory)

    def _release_name(self, number: int) -> str:
        """Return a release's number, with the configuration file if the command line named one."""
        named = configuration.named(sys.argv[1:])
        return f"{number} of {self._configuration()}" if named else str(number)

    def _link_commands_or_undo(self, before: int | None) -> None:
        """Link the new release's commands into ``bin/``; if that fails, keep the old release."""
        try:
            self._link_commands()
        except UserError:
            if before is not None:
                self.releases.make_current(before)
            raise

    def _link_commands(self) -> None:
        try:
            link_commands(self.layout.bin, self.layout.current)
        except OSError as error:
            where = reason(error, self.layout.bin)
            raise UserError(f"[{self.name}] cannot write {where}") from error

    def _collect_staged(self) -> Staged:
        staged = Staged.collected({**self.stagings, self.name: self.location})
        if taken := occupied_commands(self.layout.bin, self.layout.current, staged.commands):
            raise UserError(
                f"[{self.name}] {self.layout.bin / taken[0]}: expected none, or our link, "
                f"got another file; {LOOK_FIRST}"
            )
        return staged

    def _check_stopped(self, going: Mapping[str, contents.Site]) -> None:
        """Check that no server runs for which the new release has no command."""
        names = [name for name, site in going.items() if servers.runs(self.layout.bin / name, site)]
        if names:
            stops = " && ".join(f"bin/{name} stop" for name in names)
            raise UserError(
                f"[{self.name}] {', '.join(names)}: expected none to run, since the new release "
                f"has no such command; stop first: {stops}"
            )

    def _make_release(self, staged: Staged) -> int:
        try:
            with self.releases.draft() as folder:
                staged.copy_to(folder)
                staged.share(folder, {site.name: accounts.gid(site.user) for site in self.sites})
                draft = Draft(folder, self.layout.current)
                passed = validate(draft, staged.parts, unchecked_allowed=self._may_be_unchecked())
                for site in self.sites:
                    if site.setup and accounts.can_act_as(site.user):
                        contents.set_up(site.setup, folder, self.layout)
                names = [site.name for site in self.sites]
                self.notices += trial.load_sites(draft, names, staged.parts, self.settings.load)
                store.write_manifest(
                    folder,
                    staged.parts,
                    passed,
                    configuration=self._configuration(),
                    modes=staged.modes,
                    environments=self._environments(),
                    setup={s.name: s.setup.database for s in self.sites if s.setup},
                )
                number = self.releases.publish(folder, self._once_active())
            self.releases.prune(self.settings.keep, self._needed_releases())
        except OSError as error:
            where = reason(error, self.layout.releases)
            raise UserError(f"[{self.name}] cannot write {where}") from error
        return number

    def _needed_releases(self) -> Collection[int]:
        """Return the releases to keep: the active one, and the target of a rollback."""
        try:
            noted = self._active_note()
        except (ActivationError, OSError):
            # If we may not know which release is active, we must not remove any.
            return self.releases.numbers()
        return noted.needed if noted else ()

    def _once_active(self) -> Collection[int]:
        """Return the releases that were active once, so that no new one gets their numbers."""
        with suppress(ActivationError, OSError):
            noted = self._active_note()
            return {each.release for each in noted.history} if noted else ()
        return ()

    def _active_note(self) -> active_note.Note | None:
        return active_note.read(Tree(Path("/")), self.layout.directory)

    def _may_be_unchecked(self) -> bool:
        """Return whether a file may go live without its validator."""
        if self.settings.unchecked != "default":
            return self.settings.unchecked == "allow"
        return all(site.environment == "development" for site in self.sites)


def _duplicates(given: list[str]) -> list[str]:
    return sorted({one for one in given if given.count(one) > 1})
