"""Recipe ``production_ini``: the configuration file of a deployed application.

================  ========================  ======================================
Option            Type, default             Meaning
================  ========================  ======================================
name              site name                 Which site it belongs to.
home              path                      The sandbox: ``${app:home}``.
egg               requirement               Whose installer makes the file:
                                            ``${app:application}``.
application       name, ``main``            Which application of that egg.
template          path                      A file to start from, in place of the
                                            installer's.
section           section of the ini        The application's section; default:
                                            ``app:main``, or the only ``app:*``.
environment       ``development``,          Debug is refused but in development.
                  ``staging``,
                  ``production`` (default)
host              host, ``127.0.0.1``       Where the application's server listens.
port              TCP port                  The same.
server            egg:name#server,          The server, any ``paste.server_runner``
                  ``egg:waitress#main``     or ``paste.server_factory``.
threads           1 to 1000, ``4``          Its threads; they share one interpreter,
                                            and few are faster than many.
database-url      URL                       SQLAlchemy's; default: the template's.
email-to          addresses                 Who gets error reports; default: nobody.
smtp-server       host, ``localhost``       Through which server.
error-email-from  address                   From whom.
debug             ``true``,                 The debugger; development only.
                  ``false`` (default)
log-file          path                      The application's own log.
log-level         level, ``INFO``           Of the root logger.
data              path                      Where ``%(here)s`` of the template goes:
                                            a release holds no data.
secrets-folder    path                      Where secrets are kept.
secrets           name = origin, a line     Origins: ``generate``, ``uuid``,
                                            ``file:PATH``, ``env:VARIABLE``.
settings          an ini fragment           Laid over all of this.
user              account                   Who reads the file; in mode ``embedded``,
                                            the account's group does as well.
mode              ``proxy`` (default),      As of ``[site]``.
                  ``mod_wsgi``,
                  ``embedded``
setup             ``true`` (default),       Whether ``paster setup-app`` runs once
                  ``false``                 for a database that it has not seen; an
                                            egg without an installer has none to run.
================  ========================  ======================================

Publishes ``path`` (the live file), ``setup``, ``installer`` (whether the application
has one) and ``database`` (a digest that tells one database from another).
"""

import hashlib
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pylonyard import accounts, installers, plain_secrets, values
from pylonyard.debugging import debug_problems
from pylonyard.errors import CommandError, OptionError
from pylonyard.escaping import ini, ini_python2
from pylonyard.ini_settings import DATABASE_KEYS, application_section, apply_options, spelled
from pylonyard.inifile import Ini, IniError, Setting, fragment, overlay
from pylonyard.options import option
from pylonyard.pylons_app import requirement
from pylonyard.recipe import Recipe, site_path
from pylonyard.sandboxes import site_packages
from pylonyard.secret_store import Origin, SecretError, SecretStore, origin
from pylonyard.writing import Artifact

log = logging.getLogger(__name__)

ALWAYS = {
    "app_instance_uuid": Origin("uuid"),
    "app_instance_secret": Origin("generate"),
}

# "%%" before it is a percent sign, but to Python 2.
_HERE = re.compile(r"(?<!%)((?:%%)*)%\(here\)s")
_HERE_PYTHON2 = re.compile(r"()%\(here\)s")


def settings_fragment(text: str) -> tuple[Setting, ...]:
    """Convert an ini fragment, as ``%(here)s`` and ``<secret:...>`` included."""
    for line in text.split("\n"):
        # To Python 2, which reads bytes, a no-break space is a part of the value.
        if any(part.strip() != part.strip(" \t") for part in re.split("[=:]", line, maxsplit=1)):
            raise values.refuse("no white space but blanks around names and values", line)
    return tuple(fragment(text))


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a section of this recipe may say."""

    name: str = option(values.site_name)
    home: Path = option(values.path)
    egg: str = option(requirement)
    application: str = option(values.matching(r"[A-Za-z0-9_.-]+", "a name"), default="main")
    template: Path | None = option(values.optional(values.path), default="")
    section: str | None = option(
        values.optional(values.matching(r"[^\[\]\s]+", "a section such as app:main")), default=""
    )
    environment: str = option(
        values.one_of("development", "staging", "production"), default="production"
    )
    host: str = option(values.host, default="127.0.0.1")
    port: int = option(values.port)
    server: str = option(
        values.matching(r"egg:[A-Za-z0-9._-]+(#[A-Za-z0-9._-]+)?", "egg:DISTRIBUTION#SERVER"),
        default="egg:waitress#main",
    )
    threads: int = option(values.whole(1, 1000, "(threads)"), default="4")
    database_url: str | None = option(values.optional(values.text), default="")
    email_to: tuple[str, ...] = option(values.listed(values.email), default="")
    smtp_server: str = option(values.host, default="localhost")
    error_email_from: str | None = option(values.optional(values.email), default="")
    debug: bool = option(values.boolean, default="false")
    log_file: Path = option(values.path)
    log_level: str = option(
        values.one_of("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"), default="INFO"
    )
    data: Path = option(values.path)
    secrets_folder: Path = option(values.path)
    secrets: tuple[tuple[str, Origin], ...] = option(values.pairs(origin), default="")
    settings: tuple[Setting, ...] = option(settings_fragment, default="")
    user: str = option(values.account, default="")
    mode: str = option(values.one_of("proxy", "mod_wsgi", "embedded"), default="proxy")
    setup: bool = option(values.boolean, default="true")


class ProductionIni(Recipe):
    declaration = Options
    settings: Options

    def prepare(self) -> None:
        """Lay the options over the skeleton, then fill in the secrets."""
        options = self.settings
        if options.debug and options.environment != "development":
            raise OptionError(
                self.name, [f"debug: expected false in {options.environment}, got true"]
            )
        self._expect_no_plain_secrets()
        config = self._laid_over(self._skeleton())
        self.database = database_digest(config, application_section(config, options.section))
        try:
            store = SecretStore(options.secrets_folder, {**ALWAYS, **dict(options.secrets)})
            self.text = store.fill(str(config), config.spell)
        except SecretError as error:
            raise OptionError(self.name, [f"secrets: {error}"]) from error

    def _expect_no_plain_secrets(self) -> None:
        """Check that no secret stands where others may read it; in development, warn."""
        options = self.settings
        problems = [
            *plain_secrets.in_settings(options.settings, "settings"),
            *plain_secrets.in_open_files(options.secrets),
        ]
        if plain_secrets.has_password(options.database_url or ""):
            problems.insert(0, plain_secrets.in_url("database-url"))
        if problems and options.environment != "development":
            raise OptionError(self.name, problems)
        for problem in problems:
            log.warning("[%s] %s", self.name, problem)

    def _warn_of_template(self, config: Ini) -> None:
        """Warn of secrets in the template, which has them since long, unless they are replaced."""
        given = {(each.section, each.key) for each in self.settings.settings}
        left = [s for s in config.settings() if (s.section, s.key) not in given]
        if self.settings.database_url:
            left = [s for s in left if s.key not in DATABASE_KEYS]
        for problem in plain_secrets.in_settings(left, f"template {self.settings.template}"):
            log.warning("[%s] %s", self.name, problem)

    def _skeleton(self) -> str:
        options = self.settings
        if options.template:
            try:
                return options.template.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "it is not UTF-8"
                problem = f"template: cannot read {options.template}: {reason}"
                raise OptionError(self.name, [problem]) from error
        store = self.layout.cache / "configs"
        try:
            return installers.skeleton(options.home, options.egg, options.application, store)
        except CommandError as error:
            raise OptionError(self.name, [f"egg: {error}"]) from error

    def _laid_over(self, skeleton: str) -> Ini:
        options = self.settings
        try:
            config = Ini(skeleton, self._spell())
            apply_options(config, options)
            overlay(config, options.settings)
            overlay(config, _anchored(config, options.data))
        except IniError as error:
            raise OptionError(self.name, [f"{self._origin()}: {error}"]) from error
        except ValueError as error:
            raise OptionError(self.name, [str(error)]) from error
        if options.template:
            self._warn_of_template(config)
        if options.environment != "development" and (problems := debug_problems(config)):
            raise OptionError(self.name, problems)
        return config

    def _spell(self) -> Callable[..., str]:
        """Return the escaper for the Python that reads the ini."""
        is_old = site_packages(self.settings.home).parent.name.startswith("python2")
        return ini_python2 if is_old else ini

    def _has_installer(self) -> bool:
        options = self.settings
        return installers.exists(options.home, options.egg, options.application)

    def _origin(self) -> str:
        options = self.settings
        return f"template {options.template}" if options.template else f"egg {options.egg}"

    def artifacts(self) -> Iterator[Artifact]:
        is_read_by_group = _is_other(self.settings.user) or self.settings.mode == "embedded"
        mode = 0o640 if is_read_by_group else 0o600
        yield Artifact(f"{self.settings.name}/production.ini", self.text, mode)

    def published(self) -> Mapping[str, Any]:
        return {
            "path": site_path(self.layout, self.settings.name, "production.ini"),
            "setup": str(self.settings.setup and self._has_installer()).lower(),
            "installer": str(self._has_installer()).lower(),
            "database": self.database,
        }


def _anchored(config: Ini, data: Path) -> Iterator[Setting]:
    """Yield the settings that name ``%(here)s``, which no release can mean."""
    is_old = config.spell is ini_python2
    here = _HERE_PYTHON2 if is_old else _HERE
    for setting in list(config.settings()):
        if here.search(setting.value):
            rest = here.sub("", setting.value)
            if is_old and "%" in rest and "%(" not in rest:
                raise ValueError(
                    f"{setting.key}: expected no other % beside %(here)s, since Python 2 "
                    f"would read it in another way, got {setting.value!r}"
                )
            folder = spelled(config, "data", data, rest)
            value = here.sub(r"\g<1>" + folder.replace("\\", r"\\"), setting.value)
            yield Setting(setting.section, setting.key, value)


def _is_other(user: str) -> bool:
    """Tell whether an account other than ours, and not root's, reads the file."""
    return not accounts.is_ours(user) and not accounts.is_root(user)


def database_digest(config: Ini, section: str) -> str:
    """Return a digest of where the application keeps its data, secrets left out."""
    places = sorted(
        f"{setting.key}={setting.value}"
        for setting in config.settings()
        if setting.section in (section, "DEFAULT")
        and (setting.key.endswith("url") or "://" in setting.value)
    )
    return hashlib.sha256("\n".join(places).encode()).hexdigest()[:20]
