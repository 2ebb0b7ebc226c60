"""Recipe ``site``: declare a site by the values in which it differs from others.

The sections in ``roles`` deploy the section ``[site]``. Any other section of this recipe,
say ``[blog]``, is deployed by copies of those sections, in which ``${site:...}`` becomes
``${blog:...}``. If you write a section ``[blog-ini]``, it overrides options of the copy of
``[ini]``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pylonyard.config import converters
from pylonyard.config.run_state import DEFAULT_ROLES, FIRST_SITE, copy_of, role_section
from pylonyard.environments import site_account
from pylonyard.recipes.base import Recipe, option
from pylonyard.system import accounts, safe_files
from pylonyard.system.errors import OptionError, UserError
from pylonyard.webservers.apache.options import longest_run_folder

DEFAULT_RUN_FOLDER = "${site:run}"
"""The option ``run-folder`` in our profile."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a section."""

    name: str = option(converters.site_name, kind="site name")
    """The name in its files: ``bin/<name>``, ``/etc/init.d/<name>``."""
    server_name: str = option(converters.host, kind="host name")
    """The host name in the site's URL."""
    server_alias: tuple[str, ...] = option(
        converters.listed(converters.server_alias), default="", kind="host names"
    )
    """Other host names; ``*`` and ``?`` allowed."""
    port: int = option(converters.port, kind="TCP port")
    """The port of its own server, on loopback."""
    user: str = option(converters.account, default="", kind="account")
    """Its account; default: yours, who run buildout."""
    eggs: tuple[str, ...] = option(
        converters.lines(converters.text), kind="requirements, one a line"
    )
    """What to install; the application first."""
    mode: str = option(
        converters.one_of("proxy", "mod_wsgi", "embedded"),
        default="proxy",
        kind="``proxy``, ``mod_wsgi``, ``embedded``",
    )
    """How Apache serves it: by proxy to its own server, in a daemon process group, or in Apache's
    own processes."""
    environment: str = option(
        converters.one_of("development", "staging", "production"),
        default="production",
        kind="``development``, ``staging``, ``production``",
    )
    """Debug mode is allowed in development only."""
    roles: tuple[str, ...] = option(
        converters.listed(converters.section_name), default=DEFAULT_ROLES, kind="section names"
    )
    """The sections that deploy it; default: ``{default}``."""


class Site(Recipe):
    declaration = Options
    settings: Options

    def prepare(self) -> None:
        """Copy the sections that deploy a site, for each site but the first."""
        if problem := site_account.account_problem(self.settings):
            raise OptionError(self.name, [f"user: {problem}"])
        raw = self.buildout._raw
        missing = [role for role in self.settings.roles if role not in raw]
        if missing and self.is_released:
            raise OptionError(
                self.name,
                [f"roles: expected sections of this buildout, got {', '.join(missing)}"],
            )
        self._check_path_length()
        if self.name != FIRST_SITE:
            for role in self.settings.roles:
                if role in missing:
                    continue
                copy = copy_of(self.buildout, self.name, self.settings.roles, role)
                raw[self._section_name(role)] = copy

    def _check_path_length(self) -> None:
        """Refuse a path that is too long for sockets, before mod_wsgi is built."""
        options, section = self.settings, self._section_name("vhost")
        own = self.buildout._raw.get(section, {}).get("run-folder", DEFAULT_RUN_FOLDER)
        has_sockets = options.mode == "mod_wsgi" and "vhost" in options.roles
        if not has_sockets or own != DEFAULT_RUN_FOLDER:
            return
        if longest := longest_run_folder(self.layout.var / "run", options.name):
            here = self.layout.directory
            raise OptionError(
                section,
                [
                    f"run-folder: expected a path of at most {longest} characters, which sockets "
                    f"need, got '{here}/var/run'; use a shorter path for the sandbox"
                ],
            )

    def _section_name(self, role: str) -> str:
        return role_section(self.name, role)

    def published(self) -> Mapping[str, Any]:
        options, var = self.settings, self.layout.var
        return {
            "server-alias": " ".join(options.server_alias),
            "user": options.user,
            "mode": options.mode,
            "environment": options.environment,
            "sections": " ".join(map(self._section_name, options.roles)),
            **({"live": self.live / options.name} if self.is_released else {}),
            "log": var / "log",
            "run": var / "run",
            "data": var / "data" / options.name,
            "secrets": var / "secrets" / options.name,
        }

    def install(self) -> Iterable[str]:
        """Make the folders that the site writes to; no run removes them.

        The activation makes those of an account that we cannot give folders to.
        """
        user = self.settings.user
        folders = site_account.written_paths(self.layout.var, self.settings.name)
        for folder, mode in folders.items() if accounts.can_act_as(user) else ():
            try:
                if not folder.is_dir():
                    safe_files.make_folder(folder, mode, accounts.new_owner(user))
                elif owner := accounts.new_owner(user):
                    site_account.take_over(folder, owner)
            except OSError as error:
                problem = f"cannot make {folder}: {error.strerror}"
                raise UserError(f"[{self.name}] {problem}") from error
        return ()

    update = install
