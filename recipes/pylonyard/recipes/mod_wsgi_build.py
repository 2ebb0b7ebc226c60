"""Recipe ``mod_wsgi_build``: compile mod_wsgi for the Python that runs the application.

=============  ========================  =========================================
Option         Type, default             Meaning
=============  ========================  =========================================
mode           ``proxy`` (default),      How Apache serves the site; in ``proxy``
               ``mod_wsgi``,             mode this part does nothing.
               ``embedded``
home           path                      The environment: ``${app:home}``.
version        version of mod_wsgi       Default: the newest that builds for the
                                         application's Python: 6.1.1 for 3.10 to 3.15,
                                         5.0.2 for 3.8 and 3.9, 4.9.4 for older.
apxs           path                      Apache's build tool; default: ``apxs`` or
                                         ``apxs2`` on the ``PATH``.
=============  ========================  =========================================

Publishes ``module`` (the module in its store; empty in ``proxy`` mode), ``load``
(the live ``wsgi.load``) and ``version``.
"""

import contextlib
import logging
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zc.buildout.buildout import Options as Section

from pylonyard.config import converters
from pylonyard.config.options import option
from pylonyard.packages import mod_wsgi_sources
from pylonyard.packages.integrity import RefusedError, Verified
from pylonyard.packages.interpreters import Interpreter
from pylonyard.recipes.base import Recipe
from pylonyard.system.atomic import Artifact
from pylonyard.system.errors import CommandError, OptionError
from pylonyard.system.subprocesses import PROGRAM_PATH
from pylonyard.webservers.apache import mod_wsgi

logger = logging.getLogger("pylonyard")

LOAD_FILE = "etc/apache2/mods-available/wsgi.load"


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a section."""

    mode: str = option(converters.one_of("proxy", "mod_wsgi", "embedded"), default="proxy")
    home: Path = option(converters.path)
    version: str | None = option(
        converters.optional(converters.matching(r"[0-9]+(\.[0-9]+)*", "a version such as 6.1.1")),
        default="",
    )
    apxs: Path | None = option(converters.optional(converters.path), default="")


class ModWsgiBuild(Recipe):
    declaration = Options
    settings: Options

    def prepare(self) -> None:
        """Make sure that the module is in the cache; build it if it is not."""
        if self.settings.mode == "proxy":
            return
        try:
            self._ensure_module()
        except (CommandError, RefusedError) as error:
            raise OptionError(self.name, [str(error)]) from error
        except ValueError as error:
            raise OptionError(self.name, [f"version: {error}"]) from error

    def _ensure_module(self) -> None:
        apxs = self.settings.apxs or find_apxs()
        self.python = mod_wsgi.interpreter(self.settings.home)
        self.source = mod_wsgi_sources.choose(self.python.minor, self.settings.version)
        server = mod_wsgi.apache(apxs)
        _warn_of_prefork(server)
        name = mod_wsgi.store_name(self.source, self.python, server)
        self.module = self.layout.cache / "mod_wsgi" / name / "mod_wsgi.so"
        verified = Verified(self.layout.cache)
        try:
            if not self._is_intact(verified):
                self._compile(server, apxs, verified)
        except RefusedError:
            # Rebuilt for the releases that use it; the error to report is the refusal.
            with contextlib.suppress(CommandError):
                self._compile(server, apxs, verified)
            raise

    def _compile(self, server: Mapping[str, str], apxs: Path, verified: Verified) -> None:
        mod_wsgi.check_tools(self.python, server)
        archive = mod_wsgi.fetch(self.source, self.buildout)
        mod_wsgi.build(self.source, archive, self.python, apxs, self.module.parent)
        verified.note_built(self.module, self.source.sha256)

    def _is_intact(self, verified: Verified) -> bool:
        """Return whether the module is as it was built, as far as this account can know.

        :raises RefusedError: if it was changed; it has been moved to quarantine
        """
        if not self.module.is_file():
            return False
        if verified.is_built(self.module, self.source.sha256):
            return True
        # Built by another account: build it again, unless only its owner can do that.
        return not os.access(self.module.parent.parent, os.W_OK)

    def artifacts(self) -> Iterator[Artifact]:
        if self.settings.mode != "proxy":
            text = mod_wsgi.load(self.source, self.module.parent, self.python)
            yield Artifact(LOAD_FILE, text)

    def published(self) -> Mapping[str, Any]:
        if self.settings.mode == "proxy":
            return {"module": "", "load": ""}
        return {
            "module": self.module,
            "load": self.layout.current / LOAD_FILE,
            "version": self.source.version,
        }


def module_source(buildout: Any, section: str, interpreter: Interpreter | None) -> str | None:
    """Return the source of mod_wsgi that another part wants for this section's application.

    That part comes later, and cannot be asked before this one is done.
    """
    series = interpreter.series if interpreter else sys.version_info[:2]
    for name in buildout:
        raw = buildout._raw[name]
        is_of_ours = f"${{{section}:" in raw.get("home", "")
        if raw.get("recipe") != "pylonyard:mod_wsgi_build" or not is_of_ours:
            continue
        options = Section(buildout, name, {k: raw[k] for k in ("mode", "version") if k in raw})
        if options.get("mode", "proxy") != "proxy":
            with contextlib.suppress(ValueError):  # The part itself will tell.
                source = mod_wsgi_sources.choose(series, options.get("version") or None)
                return mod_wsgi_sources.filename(source)
    return None


def find_apxs() -> Path:
    """Return the path of apxs, Apache's build tool.

    :raises CommandError: if it is not installed
    """
    for name in ("apxs", "apxs2"):
        if found := shutil.which(name, path=PROGRAM_PATH):
            return Path(found)
    raise CommandError("cannot build mod_wsgi", "no apxs", "apt-get install apache2-dev")


def _warn_of_prefork(server: Mapping[str, str]) -> None:
    enabled = Path(server.get("exp_sysconfdir", "/etc/apache2"), "mods-enabled")
    if (enabled / "mpm_prefork.load").exists():
        logger.warning(
            "Apache runs one process for each connection (mpm_prefork); threads are faster: "
            "a2dismod mpm_prefork && a2enmod mpm_event"
        )
