"""Recipe ``production_ini``: write the configuration file of the application.

Publishes ``path`` (the live file), ``setup``, ``installer`` (whether the application has one),
``database`` (a digest that identifies the database) and ``chunked-bodies`` (for ``[vhost]``).
"""

import dataclasses
import hashlib
import json
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pylonyard.config import secret_store, server_section
from pylonyard.config.converters import ini, ini_python2
from pylonyard.config.ini import (
    Ini,
    IniError,
    debug_problems,
    new_applications,
    overlay,
)
from pylonyard.config.secret_store import Origin, SecretError, SecretStore
from pylonyard.environments import scripts
from pylonyard.environments.eggs_venv import site_packages
from pylonyard.packages.integrity import RefusedError, Verified
from pylonyard.recipes import ini_files
from pylonyard.recipes.base import FOR_GROUP, HOME_OR_EGGS, Recipe
from pylonyard.recipes.ini_options import (
    DATABASE_KEYS,
    Applied,
    Options,
    apply_options,
)
from pylonyard.system import accounts
from pylonyard.system.atomic import Artifact, Link, write
from pylonyard.system.errors import CommandError, OptionError
from pylonyard.system.subprocesses import run

log = logging.getLogger("pylonyard.production_ini")

BUILT_IN_SECRETS = {
    "app_instance_uuid": Origin("uuid"),
    "app_instance_secret": Origin("generate"),
}


class ProductionIni(Recipe):
    declaration = Options
    settings: Options

    def prepare(self) -> None:
        """Apply the options to the installer's file or the template, then fill in the secrets."""
        options = self.settings
        if options.debug and options.environment != "development":
            raise OptionError(
                self.name, [f"debug: expected false in {options.environment}, got true"]
            )
        home = self.environment(options.home, options.eggs)
        if home is None:
            raise OptionError(self.name, [HOME_OR_EGGS])
        self.home = home
        self._check_plain_secrets()
        config = self._apply_options(self._base_config())
        places = [
            self.applied.section,
            *(one for each in self.applied.applications for one in each),
        ]
        self.database = database_digest(config, *places)
        self._tell_of_server(config)
        self.chunked_bodies = server_section.chunked_bodies(config)
        try:
            store = SecretStore(
                options.secrets_folder,
                {**BUILT_IN_SECRETS, **dict(options.secrets)},
                run=self.state,
            )
            self.text = store.fill(str(config), config.spell)
            self.beside = {
                name: store.fill(str(one), one.spell if isinstance(one, Ini) else _plain)
                for name, one in self._files(config).items()
            }
        except SecretError as error:
            raise OptionError(self.name, [f"secrets: {error}"]) from error

    def _check_plain_secrets(self) -> None:
        """Refuse secrets in files that others may read; in development, warn only."""
        options = self.settings
        problems = [
            *secret_store.in_settings(options.settings, "settings"),
            *secret_store.in_open_files(options.secrets),
        ]
        if secret_store.has_password(options.database_url or ""):
            problems.insert(0, secret_store.in_url("database-url"))
        if problems and options.environment != "development":
            raise OptionError(self.name, problems)
        for problem in problems:
            log.warning("[%s] %s", self.name, problem)

    def _warn_of_template_secrets(self, config: Ini) -> None:
        """Warn of secrets in the template that no option replaces."""
        given = {(each.section, each.key) for each in self.settings.settings}
        left = [s for s in config.settings() if (s.section, s.key) not in given]
        if self.settings.database_url:
            left = [s for s in left if s.key not in DATABASE_KEYS]
        for problem in secret_store.in_settings(left, f"template {self.settings.template}"):
            log.warning("[%s] %s", self.name, problem)

    def _base_config(self) -> str:
        options = self.settings
        if options.template:
            try:
                return options.template.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "it is not UTF-8"
                problem = f"template: cannot read {options.template}: {reason}"
                raise OptionError(self.name, [problem]) from error
        # Any other environment may change, and so may the file of its installer.
        is_ours = self.home.parent == self.layout.environments
        store = self.layout.cache / "configs" if is_ours else None
        try:
            return installer_config(self.home, options.egg, options.application, store)
        except CommandError as error:
            raise OptionError(self.name, [f"egg: {error}"]) from error

    def _apply_options(self, skeleton: str) -> Ini:
        options = self.settings
        try:
            config = Ini(skeleton, self._encoder())
            overlay(config, new_applications(config, options.settings))
            if absent_server := self._absent_server(config):
                used = server_section.DEFAULT_SERVER
                options = dataclasses.replace(options, server=used)
                log.warning("[%s] %s; until then %s", self.name, absent_server, used)
            self.applied: Applied = apply_options(config, options)
            overlay(config, options.settings)
            folder = options.template.parent if options.template else Path()
            if absent := ini_files.missing(config, folder, options.data, options.files, ""):
                raise OptionError(self.name, absent)
            overlay(config, ini_files.with_data_folder(config, options.data, options.files))
        except IniError as error:
            raise OptionError(self.name, [f"{self._source_name()}: {error}"]) from error
        except ValueError as error:
            raise OptionError(self.name, [str(error)]) from error
        if options.template:
            self._warn_of_template_secrets(config)
        if options.environment != "development" and (problems := debug_problems(config)):
            raise OptionError(self.name, problems)
        return config

    def _absent_server(self, config: Ini) -> str:
        """Return a line about the template's server if nothing installs it; "" if all is well."""
        use = config.get(server_section.SECTION, "use") or ""
        name = server_section.kind(use).partition(":")[2]
        if self.settings.server or self.settings.mode != "proxy" or not name:
            return ""
        if canonicalize_name(name) in scripts.distributions(self.home):
            return ""
        advice = f"add {name} to eggs, or set server"
        return f"{self._source_name()} names {use}, which is not installed; {advice}"

    def _tell_of_server(self, config: Ini) -> None:
        """Tell what counts of the server's section, and what changes for the site."""
        options, written = self.settings, self.applied.server
        if options.mode != "proxy":  # nothing runs this server
            return
        has_author = options.template is not None
        for line in server_section.told(written, self._source_name(), has_author=has_author):
            log.info("[%s] %s", self.name, line)
        with suppress(OSError, ValueError):
            live = self.live / options.name / "production.ini"
            before = Ini(live.read_text(encoding="utf-8"))
            for line in server_section.changed(before, config, written, options.name):
                log.info("[%s] %s", self.name, line)
        if self.applied.believes_nobody:
            log.warning("[%s] %s", self.name, server_section.OPEN_WARNING)
        used = config.get(server_section.SECTION, "use") or ""
        if options.environment != "development" and server_section.kind(used) == "egg:paste":
            log.warning("[%s] %s", self.name, server_section.PASTE_WARNING)

    def _files(self, config: Ini) -> Mapping[str, Ini | str]:
        """Return the files beside the template, after judging them and all that is loaded."""
        options = self.settings
        folder = options.template.parent if options.template else Path()
        self.state.note_paths(*(folder / name for name in options.files))
        try:
            if options.files and not options.template:
                raise ValueError("files: expected a template, which they are beside, got none")
            files = ini_files.rendered(ini_files.read(folder, options.files), options.data, config)
        except ValueError as error:
            raise OptionError(self.name, [str(error)]) from error
        configs = {name: one for name, one in files.items() if isinstance(one, Ini)}
        found = {
            path: one
            for each in (config, *configs.values())
            for path, one in ini_files.loaded(each).items()
        }
        self.state.note_paths(*found)
        problems = [
            problem
            for name, one in configs.items()
            for problem in ini_files.missing(one, folder, options.data, options.files, name)
        ]
        if options.environment != "development":
            problems += [
                f"{n}: {each}" for n, one in configs.items() for each in debug_problems(one)
            ]
            problems += ini_files.loaded_problems(found)
        if problems:
            raise OptionError(self.name, problems)
        return files

    def _encoder(self) -> Callable[..., str]:
        """Return the quoting function for the Python that reads the ini."""
        is_old = site_packages(self.home).parent.name.startswith("python2")
        return ini_python2 if is_old else ini

    def _has_installer(self) -> bool:
        options = self.settings
        return has_installer(self.home, options.egg, options.application)

    def _source_name(self) -> str:
        options = self.settings
        return f"template {options.template}" if options.template else f"egg {options.egg}"

    def folders(self) -> Mapping[Path, int]:
        return {self.settings.log_file.parent: 0o755, self.settings.data: 0o750}

    def artifacts(self) -> Iterator[Artifact | Link]:
        yield from self.environment_link(self.home)
        is_read_by_group = _is_other_account(self.settings.user) or self.settings.mode == "embedded"
        mode = FOR_GROUP if is_read_by_group else 0o600
        for name, text in {"production.ini": self.text, **self.beside}.items():
            yield Artifact(f"{self.settings.name}/{name}", text, mode)

    def published(self) -> Mapping[str, Any]:
        return {
            "path": self.live / self.settings.name / "production.ini",
            "setup": str(self.settings.setup and self._has_installer()).lower(),
            "installer": str(self._has_installer()).lower(),
            "database": self.database,
            "chunked-bodies": self.chunked_bodies,
        }


def _plain(value: str, around: str = "") -> str:
    """Return a secret as it stands in a file that is no ini."""
    return value


def _is_other_account(user: str) -> bool:
    """Return whether ``user`` is neither our own account nor root."""
    return not accounts.is_ours(user) and not accounts.is_root(user)


def database_digest(config: Ini, *sections: str) -> str:
    """Return a digest of the applications' database URLs, without the secrets in them."""
    places = sorted(
        f"{setting.key}={setting.value}"
        for setting in config.settings()
        if setting.section in (*sections, "DEFAULT")
        and (setting.key.endswith("url") or "://" in setting.value)
    )
    return hashlib.sha256("\n".join(places).encode()).hexdigest()[:20]


# The application's ``paste.app_install`` installer, run by its own interpreter.
#
# ``paster make-config`` of PasteScript 3.7 fails on Python 3 when it writes the installer's
# text. So the installer's ``config_content`` is called here, and we write the text. That
# works for every installer on every Python.


_RENDER_CONFIG = r"""
import json, io, sys
import pkg_resources
from paste.script.appinstall import MakeConfigCommand
project, name, target, variables = sys.argv[1:5]
variables = json.loads(variables)
if str is bytes:
    variables = dict((k.encode('utf-8'), v.encode('utf-8')) for k, v in variables.items())
distribution = pkg_resources.get_distribution(project)
point = distribution.get_entry_info('paste.app_install', name)
if point is None:
    sys.exit('%s has no installer (entry point %r of group paste.app_install)' % (project, name))
installer = point.load()(distribution, 'paste.app_factory', name)
command = MakeConfigCommand('make-config')
command.verbose, command.interactive, command.simulate = 0, False, False
content = installer.config_content(command, variables)
if not isinstance(content, bytes):
    content = content.encode('utf-8')
with io.open(target, 'wb') as stream:
    stream.write(content)
"""


def has_installer(home: Path, requirement: str, name: str) -> bool:
    """Return whether an application has an installer, which ``setup-app`` needs."""
    installed = scripts.distributions(home).get(canonicalize_name(Requirement(requirement).name))
    return installed is not None and any(
        (point.group, point.name) == ("paste.app_install", name) for point in installed.entry_points
    )


def installer_config(home: Path, requirement: str, name: str, store: Path | None) -> str:
    """Return the ini that the installer of ``requirement`` makes, without its secrets.

    It has ``<secret:...>`` in place of secrets, so the text may be kept in the cache. It is kept as
    long as the environment is, and verified when used.

    :param home: the application's environment
    :param name: the application's name in its distribution, usually ``main``
    :param store: where to keep it; None if the environment may change
    :raises CommandError: if it has no installer, or the installer fails
    """
    project = Requirement(requirement).name
    if store is None:
        return _made_by_installer(home, requirement, name).decode()
    place = store / f"{home.name}-{project}-{name}.ini"
    verified = Verified(store.parent)
    try:
        if place.is_file() and verified.is_built(place, home.name):
            return place.read_text(encoding="utf-8")
    except RefusedError as error:
        raise CommandError(f"cannot use a config of {project}", str(error)) from error
    content = _made_by_installer(home, requirement, name)
    write(place, content)
    verified.note_built(place, home.name)
    return content.decode()


def _made_by_installer(home: Path, requirement: str, name: str) -> bytes:
    project = Requirement(requirement).name
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "skeleton.ini")
        variables = json.dumps(_variables(project, requirement, name))
        run(
            [home / "bin" / "python", "-c", _RENDER_CONFIG, project, name, target, variables],
            f"cannot make a config of {project}",
            directory=Path(folder),
            advice="correct its installer, or set template",
            doing=f"Asking {project} for its configuration",
        )
        content = target.read_bytes()
    try:
        content.decode()
    except UnicodeDecodeError:
        raise CommandError(f"cannot make a config of {project}", "it is not UTF-8") from None
    return content


def _variables(project: str, requirement: str, name: str) -> dict[str, str]:
    """Return what ``paster make-config`` passes to an installer."""
    return {
        "project_name": project,
        "requirement": requirement,
        "ep_name": name,
        "ep_group": "paste.app_factory",
        "app_name": project.lower(),
        "app_instance_uuid": "<secret:app_instance_uuid>",
        "app_instance_secret": "<secret:app_instance_secret>",
    }
