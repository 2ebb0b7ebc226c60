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
import json
import logging
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pylonyard.config import secret_store
from pylonyard.config.ini import Ini, IniError, Setting, debug_problems, overlay
from pylonyard.config.quoting import ini, ini_python2
from pylonyard.config.secret_store import Origin, SecretError, SecretStore
from pylonyard.environments import scripts
from pylonyard.environments.eggs_venv import site_packages
from pylonyard.packages.integrity import RefusedError, Verified
from pylonyard.recipes.base import Recipe, site_path
from pylonyard.recipes.ini_options import (
    DATABASE_KEYS,
    Options,
    application_section,
    apply_options,
    spelled,
)
from pylonyard.system import accounts
from pylonyard.system.atomic import Artifact, write
from pylonyard.system.errors import CommandError, OptionError
from pylonyard.system.subprocesses import run

log = logging.getLogger("pylonyard.production_ini")

ALWAYS = {
    "app_instance_uuid": Origin("uuid"),
    "app_instance_secret": Origin("generate"),
}

# "%%" before it is a percent sign, but to Python 2.
_HERE = re.compile(r"(?<!%)((?:%%)*)%\(here\)s")
_HERE_PYTHON2 = re.compile(r"()%\(here\)s")


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
            store = SecretStore(
                options.secrets_folder, {**ALWAYS, **dict(options.secrets)}, run=self.state
            )
            self.text = store.fill(str(config), config.spell)
        except SecretError as error:
            raise OptionError(self.name, [f"secrets: {error}"]) from error

    def _expect_no_plain_secrets(self) -> None:
        """Check that no secret stands where others may read it; in development, warn."""
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

    def _warn_of_template(self, config: Ini) -> None:
        """Warn of secrets in the template, which has them since long, unless they are replaced."""
        given = {(each.section, each.key) for each in self.settings.settings}
        left = [s for s in config.settings() if (s.section, s.key) not in given]
        if self.settings.database_url:
            left = [s for s in left if s.key not in DATABASE_KEYS]
        for problem in secret_store.in_settings(left, f"template {self.settings.template}"):
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
            return skeleton(options.home, options.egg, options.application, store)
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
        return exists(options.home, options.egg, options.application)

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
    """Return whether an account other than ours, and not root's, reads the file."""
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


# An application's own ``paste.app_install`` installer, run in its own interpreter.
#
# ``paster make-config`` of PasteScript 3.7 fails on Python 3 while it writes what
# the installer returned, so the installer's ``config_content`` is called here, and
# the result written by us.  That serves every installer on every Python.


_RENDER = r"""
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


def exists(home: Path, requirement: str, name: str) -> bool:
    """Return whether an application has an installer, which ``setup-app`` cannot do without."""
    installed = scripts.distributions(home).get(canonicalize_name(Requirement(requirement).name))
    return installed is not None and any(
        (point.group, point.name) == ("paste.app_install", name) for point in installed.entry_points
    )


def skeleton(home: Path, requirement: str, name: str, store: Path) -> str:
    """Return the ini that the installer of ``requirement`` makes, secrets left open.

    What the installer would fill with secrets stands as ``<secret:...>``, so the
    text may be kept; it is, for as long as the sandbox is, and verified when used.

    :param home: the application's sandbox
    :param name: the application's name in its distribution, mostly ``main``
    :raises CommandError: if it has no installer, or the installer fails
    """
    project = Requirement(requirement).name
    place = store / f"{home.name}-{project}-{name}.ini"
    verified = Verified(store.parent)
    try:
        if place.is_file() and verified.is_built(place, home.name):
            return place.read_text(encoding="utf-8")
    except RefusedError as error:
        raise CommandError(f"cannot use a config of {project}", str(error)) from error
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "skeleton.ini")
        variables = json.dumps(_variables(project, requirement, name))
        run(
            [home / "bin" / "python", "-c", _RENDER, project, name, target, variables],
            f"cannot make a config of {project}",
            directory=Path(folder),
            advice="mend its installer, or set template",
            doing=f"Asking {project} for its configuration",
        )
        content = target.read_bytes()
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise CommandError(f"cannot make a config of {project}", "it is not UTF-8") from None
    write(place, content)
    verified.note_built(place, home.name)
    return text


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
