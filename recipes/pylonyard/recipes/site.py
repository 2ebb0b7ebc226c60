"""Recipe ``site``: declare a site by the values in which it differs from others.

The sections in ``roles`` deploy the section ``[site]``. Any other section of this recipe,
say ``[blog]``, is deployed by copies of those sections, in which ``${site:...}`` becomes
``${blog:...}``. If you write a section ``[blog-ini]``, it overrides options of the copy of
``[ini]``.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pylonyard.config import converters
from pylonyard.config.run_state import DEFAULT_ROLES, FIRST_SITE, copy_of, role_section
from pylonyard.environments import site_account
from pylonyard.recipes.base import Recipe, option
from pylonyard.system import accounts, safe_files
from pylonyard.system.errors import OptionError, UserError
from pylonyard.webservers.apache import options as webserver

DEFAULT_RUN_FOLDER = "${site:run}"
"""The option ``run-folder`` in our profile."""


_AGREED: Mapping[str, Callable[[str], Any]] = {
    "prefix": webserver.url_path,
    "timeout": webserver.timeout,
    "max-body": webserver.max_body,
}


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
    host: str = option(converters.host, default="127.0.0.1", kind="host")
    """The address of its own server, such as ``::1``,"""
    port: int = option(converters.port, kind="TCP port")
    """and its port."""
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
    prefix: str | None = option(
        converters.optional(webserver.url_path), default="", kind="URL path"
    )
    """The application is below it, as in ``/wiki``; default: at the top."""
    trusted_proxies: tuple[str, ...] = option(
        webserver.proxies, default="", kind="addresses, networks"
    )
    """A second TLS end in front of Apache, which believes it."""
    timeout: int | None = option(converters.optional(webserver.timeout), default="", kind="seconds")
    """How long both ends wait for the other; default: 60."""
    max_body: int | None = option(converters.optional(webserver.max_body), default="", kind="bytes")
    """The largest request; default: 10485760. 0: no limit."""
    overlap: bool = option(converters.boolean, default="true", kind="``true``, ``false``")
    """``false`` if only one process may have the data open: a restart stops the old server before
    it starts the new one, and mod_wsgi has one process."""
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
        if self.settings.mode == "embedded" and not self.settings.overlap:
            problem = "overlap: expected true in mode embedded, which has many processes, got false"
            raise OptionError(self.name, [problem])
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
        if longest := webserver.longest_run_folder(self.layout.var / "run", options.name):
            here = self.layout.directory
            raise OptionError(
                section,
                [
                    f"run-folder: expected a path of at most {longest} characters, which sockets "
                    f"need, got '{here}/var/run'; use a shorter path for the sandbox"
                ],
            )

    def _agreed(self, key: str, value: object) -> object:
        """Return what both ends get: ``value``, or what only the web server's section has."""
        written = self.buildout._raw.get(self._section_name("vhost"), {}).get(key, "")
        if "vhost" in self.settings.roles and written and "$" not in written:
            with suppress(ValueError):  # that section tells of a bad value
                _AGREED[key](written)
                return written
        return "" if value is None else value

    def _section_name(self, role: str) -> str:
        return role_section(self.name, role)

    def published(self) -> Mapping[str, Any]:
        options, var = self.settings, self.layout.var
        agreed = {"prefix": options.prefix, "timeout": options.timeout}
        # Where our web server limits bodies, the site's own server does, too.
        is_limited = options.max_body is None and "vhost" in options.roles
        agreed |= {"max-body": webserver.max_body("") if is_limited else options.max_body}
        return {
            **{key: self._agreed(key, value) for key, value in agreed.items()},
            "trusted-proxies": " ".join(options.trusted_proxies),
            "server-alias": " ".join(options.server_alias),
            "host": options.host,
            "user": options.user,
            "mode": options.mode,
            "environment": options.environment,
            "overlap": str(options.overlap).lower(),
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
