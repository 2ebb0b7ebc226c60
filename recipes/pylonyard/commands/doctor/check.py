"""Define what every check of the doctor gets, a ``Subject``, and yields: ``Finding`` objects.

``good``, ``bad`` and ``unknown`` make them.  A line of another program is shown through
``mask_secrets``.
"""

import configparser
import os
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pylonyard.activation.journal import Journal
from pylonyard.commands.releases import known_secrets
from pylonyard.releases.contents import Site
from pylonyard.server.settings import Settings
from pylonyard.system import errors
from pylonyard.system.errors import ServerError
from pylonyard.system.rootfs import Account, Tree, account
from pylonyard.system.safe_files import read_plainly
from pylonyard.system.subprocesses import clean_environment, completed
from pylonyard.webservers.registry import (
    ACTIVATE,
    ACTIVATE_FORCED,
    Finding,
    Machine,
    WebServer,
    bad,
    good,
    server,
    unknown,
)

__all__ = ["ACTIVATE", "ACTIVATE_FORCED", "Finding", "Subject", "bad", "good", "unknown"]


@dataclass(frozen=True)
class Subject:
    """A site to check; ``settings`` are those of its own server."""

    site: Site
    settings: Settings
    current: Path
    """The link to the live release."""
    tree: Tree
    journal: Journal | None
    """None if we may not read it, or it is damaged."""
    journal_problem: str = ""
    """What is wrong with the journal itself, and what to do."""
    answers: dict[str, bool] = field(default_factory=dict)
    """Results of earlier checks, for checks that depend on them."""

    @property
    def name(self) -> str:
        return self.site.name

    @property
    def has_server(self) -> bool:
        return self.site.has_server

    @property
    def module(self) -> Path | None:
        """Return the module of the web server that the release was made with."""
        return self.site.module

    @property
    def home(self) -> Path:
        """Return the environment of the application."""
        return self.current / self.name / "env"

    @property
    def webserver(self) -> WebServer:
        return server(self.site.server)

    @cached_property
    def machine(self) -> Machine:
        """The web server of the machine."""
        return self.webserver.machine(self.tree)

    @cached_property
    def is_activated(self) -> bool:
        """Return whether the site was activated: by the journal, or by its files in ``/etc``."""
        file, link = self.webserver.site_file(self.name), self.webserver.link(self.name)
        journal = self.journal is not None and file in self.journal.laid
        return journal or any(self.tree.read(name).kind != "absent" for name in (file, link))

    @property
    def is_served_by_private(self) -> bool:
        """Return whether the site's private web server serves it."""
        return not self.site.has_server and not self.is_activated

    @property
    def webserver_address(self) -> tuple[str, list[tuple[int, bool]]]:
        """Return the address and the ports of the web server that serves the site."""
        if self.is_served_by_private:
            return "127.0.0.1", self.private_ports
        return self.site.listen_address, self.site.places

    @cached_property
    def private_ports(self) -> list[tuple[int, bool]]:
        """Return each port of the private web server, and whether it uses TLS; [] if unknown."""
        try:
            text = read_plainly(self.private_file).decode()
        except (OSError, ServerError, UnicodeDecodeError):
            return []
        return self.webserver.listens(text)

    @property
    def private_file(self) -> Path:
        """What the private web server reads."""
        return self.current / self.name / f"{self.webserver.private}.conf"

    @property
    def is_for_development(self) -> bool:
        """Return whether the site is in development; older releases say so in server.json only."""
        return "development" in (self.site.environment, self.settings.deployment)

    @property
    def is_development(self) -> bool:
        return self.settings.reload

    @cached_property
    def owner(self) -> Account:
        """Return the account of the site's own server, or of its daemon processes."""
        return account(self.tree, self.site.user)

    @property
    def can_run_commands(self) -> bool:
        """Return whether we may run the site's own commands: as root, or as its account."""
        return not self.settings.user or os.geteuid() in (0, self.owner.uid)

    @cached_property
    def web_account(self) -> Account:
        """Who the machine's web server runs as."""
        return account(self.tree, self.machine.account)

    @property
    def application_account(self) -> Account:
        """Return the account that runs the application's code."""
        is_embedded = self.site.mode == "embedded" and not self.is_served_by_private
        return self.web_account if is_embedded else self.owner

    @cached_property
    def ini(self) -> configparser.RawConfigParser | None:
        """Return the live ini; None if we may not read it, or it is damaged."""
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read_string(read_plainly(self.settings.ini).decode())
        except (OSError, ServerError, UnicodeDecodeError, configparser.Error):
            return None
        return parser

    @cached_property
    def secrets(self) -> tuple[str, ...]:
        """Return the site's secrets that we may read, in each quoted form; longest first."""
        return tuple(sorted(known_secrets(self.secrets_folder.glob("*")), key=len, reverse=True))

    @property
    def secrets_folder(self) -> Path:
        """Return the folder of the site's secrets, with a file for each."""
        return self.current.parent / "var" / "secrets" / self.name

    def run(
        self,
        words: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        timeout: float = 30,
    ) -> tuple[int, str]:
        """Run a program of the sandbox as the site's account, never as root.

        Return its exit status (127 if it does not start) and its output.
        """
        if os.geteuid() == 0 and self.site.user != "root" and self.owner.uid < 0:
            return 127, f"there is no account {self.site.user}"
        try:
            finished = completed(
                words,
                clean_environment(environment),
                "/",
                account=self.site.user,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired:
            return 127, f"took longer than {timeout:g} s"
        except (OSError, subprocess.SubprocessError) as error:
            return 127, errors.limit_reached(error) or str(
                getattr(error, "strerror", None) or error
            )
        return finished.returncode, finished.stdout


# Lines of somebody else's, as a finding may show them.


LONGEST_LINE = 2000
"""Characters of a line that are searched for secrets."""

LONGEST_SHOWN = 200
"""Characters of a line that are shown."""

MASK = "<masked>"

# Any account may write these lines: repetitions are bounded, since they could take minutes.
_NAMED = (
    r"(?:pass(?:word|wd|wort|phrase|code)|pwd|secret|token|credential|(?:api|access|private)[\s_-]?key"
    # Not in the name of a Python file, whose line and error should be shown.
    r"|session_?id)(?:(?!\.py\b)\S){0,40}?|(?<![a-z])(?:pass|pw)(?![a-z])[\"'\\]{0,2}"
)
_HEADER = r"(?:authori[sz]ation|cookie)[\w-]{0,40}[\"'\\]{0,2}"
_IS = r"(?:\s{0,4}[=:]>?|(?<=[\"'])\s{0,4},(?=\s{0,4}[bru]?[\"']))\s{0,4}"
# A quoted value ends with a quote before a separator, or not at all.
_QUOTED = r"[bru]?(?:\"(?:\\.|[^\\])*?\"|'(?:\\.|[^\\])*?')(?=[\s,;:&)}\]]|$)|[bru]?\\?[\"'].*"
_NEXT = r"[,;]\s{1,4}[\w.\"'\\-]{1,60}\s{0,4}[=:]"
_SECRET = re.compile(
    rf"(?i)((?:{_HEADER}){_IS})(?:{_QUOTED}|.+)"
    rf"|((?:{_NAMED}){_IS})(?:{_QUOTED}|.+?(?={_NEXT}|$))"
    r"|(\bbearer\s{1,4})\S+"
    r"|(?<=://)(?:[^/\s]+@|[^\s:/@]*:[^\s]*@)"
)


def mask_secrets(line: str, secrets: Iterable[str]) -> str:
    """Return a line, shortened, with secrets and what looks like one masked."""
    shown = line.strip()
    if len(shown) > LONGEST_LINE:
        # Half of a secret would no longer look like one: cut at a blank.
        shown = shown[:LONGEST_LINE].rpartition(" ")[0] or "(a line without a space)"
    for secret in secrets:
        shown = shown.replace(secret, MASK)
    return _SECRET.sub(lambda m: (m[1] or m[2] or m[3] or "") + MASK, shown)[:LONGEST_SHOWN]
