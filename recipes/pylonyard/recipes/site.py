"""Recipe ``site``: the handful of values that tell one site from another.

=============  ========================  =========================================
Option         Type, default             Meaning
=============  ========================  =========================================
name           site name                 Names its files: ``bin/<name>``,
                                         ``/etc/init.d/<name>``.
server-name    host name                 What visitors type; the virtual host's.
server-alias   host names                Its other names; ``*`` and ``?`` allowed.
port           TCP port                  Where its own server listens, on loopback.
user           account                   Who runs it; default: who runs buildout.
eggs           requirements, one a line  The application first.
mode           ``proxy`` (default),      How Apache serves it: by proxy to its own
               ``mod_wsgi``,             server, in a daemon process group, or in
               ``embedded``              Apache's own processes.
environment    ``development``,          What is allowed: debug in development only.
               ``staging``,
               ``production`` (default)
roles          section names             The sections that deploy it; default:
                                         ``app ini wsgi vhost init cron``.
=============  ========================  =========================================

The section ``[site]`` is deployed by the sections that ``roles`` names.  Any
other section of this recipe, say ``[blog]``, is deployed by copies of them in
which ``${site:...}`` reads ``${blog:...}``; a section ``[blog-ini]`` of the
user's own overrides options of the copy of ``[ini]``.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pylonyard.config import buildout_files, converters
from pylonyard.config.options import option
from pylonyard.environments import site_account
from pylonyard.recipes.base import Recipe, site_path
from pylonyard.system import accounts, safe_files
from pylonyard.system.errors import OptionError, UserError
from pylonyard.webservers.apache.options import longest_run_folder

FIRST = "site"

SOCKETS_BELOW_RUN = "${site:run}"
"""What the profile says of where sockets are."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a section of this recipe may say."""

    name: str = option(converters.site_name)
    server_name: str = option(converters.host)
    server_alias: tuple[str, ...] = option(converters.listed(converters.server_alias), default="")
    port: int = option(converters.port)
    user: str = option(converters.account, default="")
    eggs: tuple[str, ...] = option(converters.lines(converters.text))
    mode: str = option(converters.one_of("proxy", "mod_wsgi", "embedded"), default="proxy")
    environment: str = option(
        converters.one_of("development", "staging", "production"), default="production"
    )
    roles: tuple[str, ...] = option(
        converters.listed(converters.section_name), default="app ini wsgi vhost init cron"
    )


class Site(Recipe):
    declaration = Options
    settings: Options

    def prepare(self) -> None:
        """Give a further site its own copies of the sections that deploy it."""
        if problem := site_account.account_problem(self.settings):
            raise OptionError(self.name, [f"user: {problem}"])
        raw = self.buildout._raw
        if missing := [role for role in self.settings.roles if role not in raw]:
            raise OptionError(
                self.name,
                [f"roles: expected sections of this buildout, got {', '.join(missing)}"],
            )
        self._expect_short_path()
        if self.name != FIRST:
            for role in self.settings.roles:
                section = self._section(role)
                copied = self._copy(self._extended(role))
                written = self.buildout._annotated.get(section, {})
                own = raw.get(section, {})
                raw[section] = copied | {
                    name: buildout_files.replayed(section, key, copied, own[key], written.get(key))
                    for key in own
                    if (name := key.rstrip(" +-"))
                }

    def _expect_short_path(self) -> None:
        """Refuse a path that is too long for sockets before mod_wsgi is built for it."""
        options, section = self.settings, self._section("vhost")
        own = self.buildout._raw.get(section, {}).get("run-folder", SOCKETS_BELOW_RUN)
        has_sockets = options.mode == "mod_wsgi" and "vhost" in options.roles
        if not has_sockets or own != SOCKETS_BELOW_RUN:
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

    def _extended(self, role: str) -> Mapping[str, str]:
        """Return what section ``role`` says, its ``<=`` carried out."""
        raw = self.buildout._raw[role]
        options: Mapping[str, str] = self.buildout.Options(self.buildout, role, raw)._do_extend_raw(
            role, raw, []
        )
        return options

    def _copy(self, options: Mapping[str, str]) -> dict[str, str]:
        names = "|".join(map(re.escape, (FIRST, *self.settings.roles)))

        def renamed(match: re.Match[str]) -> str:
            section = match.group(1)
            return "${" + (self.name if section == FIRST else self._section(section)) + ":"

        return {key: re.sub(rf"\$\{{({names}):", renamed, value) for key, value in options.items()}

    def _section(self, role: str) -> str:
        return role if self.name == FIRST else f"{self.name}-{role}"

    def published(self) -> Mapping[str, Any]:
        options, var = self.settings, self.layout.var
        return {
            "server-alias": " ".join(options.server_alias),
            "user": options.user,
            "mode": options.mode,
            "environment": options.environment,
            "sections": " ".join(map(self._section, options.roles)),
            "live": site_path(self.layout, options.name),
            "log": var / "log",
            "run": var / "run",
            "data": var / "data" / options.name,
            "secrets": var / "secrets" / options.name,
        }

    def install(self) -> Iterable[str]:
        """Make the folders that the site writes into; no run removes them.

        Those of an account that we cannot take are left to the activation.
        """
        user = self.settings.user
        folders = site_account.written(self.layout.var, self.settings.name)
        for folder, mode in folders.items() if accounts.can_be_taken(user) else ():
            try:
                if not folder.is_dir():
                    safe_files.make(folder, mode, _owner(user))
                elif owner := _owner(user):
                    site_account.take_over(folder, owner)
            except OSError as error:
                problem = f"cannot make {folder}: {error.strerror}"
                raise UserError(f"[{self.name}] {problem}") from error
        return ()

    update = install


def _owner(user: str) -> tuple[int, int] | None:
    """Return whose a folder is to be, if that is not ourselves and we may give it away."""
    entry = accounts.entry(user)
    assert entry is not None
    return None if accounts.is_ours(user) else (entry.pw_uid, entry.pw_gid)
