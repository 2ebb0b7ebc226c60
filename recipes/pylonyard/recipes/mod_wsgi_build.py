"""Recipe ``mod_wsgi_build``: mod_wsgi, built for the very Python of the sandbox.

=============  ========================  =========================================
Option         Type, default             Meaning
=============  ========================  =========================================
mode           ``proxy`` (default),      How Apache serves the site; in ``proxy``
               ``mod_wsgi``,             mode this part does nothing.
               ``embedded``
home           path                      The sandbox: ``${app:home}``.
version        version of mod_wsgi       Default: the newest that builds for the
                                         sandbox's Python: 6.1.1 for 3.10 to 3.15,
                                         5.0.2 for 3.8 and 3.9, 4.9.4 for older.
apxs           path                      Apache's build tool; default: ``apxs`` or
                                         ``apxs2`` of the ``PATH``.
=============  ========================  =========================================

Publishes ``module`` (the module in its store; empty in ``proxy`` mode), ``load``
(the live ``wsgi.load``) and ``version``.
"""

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pylonyard.config import converters
from pylonyard.config.options import option
from pylonyard.packages import mod_wsgi_sources
from pylonyard.packages.integrity import RefusedError, Verified
from pylonyard.recipes.base import Recipe
from pylonyard.system.atomic import Artifact
from pylonyard.system.errors import CommandError, OptionError
from pylonyard.system.subprocesses import PROGRAM_PATH
from pylonyard.webservers.apache import mod_wsgi

logger = logging.getLogger("pylonyard")

LOAD = "etc/apache2/mods-available/wsgi.load"


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a section of this recipe may say."""

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
        """Have the module in its store; what was built is never built again."""
        if self.settings.mode == "proxy":
            return
        try:
            self._build()
        except (CommandError, RefusedError) as error:
            raise OptionError(self.name, [str(error)]) from error
        except ValueError as error:
            raise OptionError(self.name, [f"version: {error}"]) from error

    def _build(self) -> None:
        apxs = self.settings.apxs or find_apxs()
        self.python = mod_wsgi.interpreter(self.settings.home)
        self.source = mod_wsgi_sources.choose(self.python.minor, self.settings.version)
        server = mod_wsgi.apache(apxs)
        _warn_of_prefork(server)
        name = mod_wsgi.store_name(self.source, self.python, server)
        self.module = self.layout.cache / "mod_wsgi" / name / "mod_wsgi.so"
        verified = Verified(self.layout.cache)
        try:
            if not self._is_whole(verified):
                self._make(server, apxs, verified)
        except RefusedError:
            # For the releases that use it; why it was refused is what matters here.
            with contextlib.suppress(CommandError):
                self._make(server, apxs, verified)
            raise

    def _make(self, server: Mapping[str, str], apxs: Path, verified: Verified) -> None:
        mod_wsgi.check_tools(self.python, server)
        archive = mod_wsgi_sources.fetch(self.source, self.buildout)
        mod_wsgi.build(self.source, archive, self.python, apxs, self.module.parent)
        verified.note_built(self.module, self.source.sha256)

    def _is_whole(self, verified: Verified) -> bool:
        """Return whether the module is what was built, as far as this account can know.

        :raises RefusedError: if it is not; it has been set aside
        """
        if not self.module.is_file():
            return False
        if verified.is_built(self.module, self.source.sha256):
            return True
        # Somebody else's: built anew, unless only its owner can do that.
        return not os.access(self.module.parent.parent, os.W_OK)

    def artifacts(self) -> Iterator[Artifact]:
        if self.settings.mode != "proxy":
            text = mod_wsgi.load(self.source, self.module.parent, self.python)
            yield Artifact(LOAD, text)

    def published(self) -> Mapping[str, Any]:
        if self.settings.mode == "proxy":
            return {"module": "", "load": ""}
        return {
            "module": self.module,
            "load": self.layout.current / LOAD,
            "version": self.source.version,
        }


def find_apxs() -> Path:
    """Return Apache's build tool.

    :raises CommandError: if there is none
    """
    for name in ("apxs", "apxs2"):
        if found := shutil.which(name, path=PROGRAM_PATH):
            return Path(found)
    raise CommandError("cannot build mod_wsgi", "no apxs", "apt-get install apache2-dev")


def _warn_of_prefork(server: Mapping[str, str]) -> None:
    enabled = Path(server.get("exp_sysconfdir", "/etc/apache2"), "mods-enabled")
    if (enabled / "mpm_prefork.load").exists():
        logger.warning(
            "Apache runs one process a connection (mpm_prefork); threads serve better: "
            "a2dismod mpm_prefork && a2enmod mpm_event"
        )
