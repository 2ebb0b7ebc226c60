"""What is examined: one site of the current release, and the machine around it."""

import configparser
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pylonyard.activation.host.apache import Httpd
from pylonyard.activation.host.facts import APACHE, apache_user
from pylonyard.activation.journal import Journal
from pylonyard.releases.contents import Site
from pylonyard.releases.diff import known_secrets
from pylonyard.server.settings import Settings
from pylonyard.system import errors
from pylonyard.system.errors import ActivationError, ServerError
from pylonyard.system.rootfs import Account, Tree, account
from pylonyard.system.safe_files import read_plainly
from pylonyard.system.subprocesses import clean_environment, completed


@dataclass(frozen=True)
class Subject:
    """A site; ``settings`` is what its own server is run by."""

    site: Site
    settings: Settings
    current: Path
    """The link to the live release."""
    tree: Tree
    journal: Journal | None
    """None if we may not read it, or cannot."""
    journal_problem: str = ""
    """What is wrong with the journal itself, and what to do."""
    answers: dict[str, bool] = field(default_factory=dict)
    """What checks before this one have found, for those that depend on it."""

    @property
    def name(self) -> str:
        return self.site.name

    @cached_property
    def httpd(self) -> Httpd:
        return Httpd(self.tree)

    @property
    def vhost(self) -> str:
        return f"{APACHE}/sites-available/{self.name}.conf"

    @cached_property
    def is_laid(self) -> bool:
        """Return whether the site was activated, as far as that shows."""
        enabled = f"{APACHE}/sites-enabled/{self.name}.conf"
        journal = self.journal is not None and self.vhost in self.journal.laid
        return journal or any(self.tree.read(n).kind != "absent" for n in (self.vhost, enabled))

    @property
    def is_by_private_apache(self) -> bool:
        """Return whether the site's private Apache, ``bin/<site>-httpd``, is what runs it."""
        return not self.site.has_server and not self.is_laid

    @property
    def front(self) -> tuple[str, list[tuple[int, bool]]]:
        """Where visitors find the Apache that serves it: an address, and its ports."""
        if self.is_by_private_apache:
            return "127.0.0.1", self.private_places
        return self.site.listen_address, self.site.places

    @cached_property
    def private_places(self) -> list[tuple[int, bool]]:
        """Ports of the private Apache, and whether by TLS; none if it cannot be read."""
        try:
            text = read_plainly(self.current / self.name / "httpd.conf").decode()
        except (OSError, ServerError, UnicodeDecodeError):
            return []
        found = re.findall(r"(?m)^Listen 127\.0\.0\.1:(\d+) (https?)$", text)
        return [(int(port), scheme == "https") for port, scheme in found]

    @property
    def is_tried(self) -> bool:
        """Return whether it is for whoever writes it, as an older release may not say of itself."""
        return "development" in (self.site.environment, self.settings.deployment)

    @property
    def is_development(self) -> bool:
        return self.settings.reload

    @cached_property
    def owner(self) -> Account:
        """Who runs the application when its own server, or a daemon process, does."""
        return account(self.tree, self.site.user)

    @property
    def may_act(self) -> bool:
        """Return whether we are who may run the site's own commands: root, or its account."""
        return not self.settings.user or os.geteuid() in (0, self.owner.uid)

    @cached_property
    def apache_account(self) -> Account:
        return account(self.tree, apache_user(self.tree))

    @property
    def runner(self) -> Account:
        """Who runs the application's code."""
        is_embedded = self.site.mode == "embedded" and not self.is_by_private_apache
        return self.apache_account if is_embedded else self.owner

    @cached_property
    def ini(self) -> configparser.RawConfigParser | None:
        """The live ini; None if we may not read it, or it is damaged."""
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read_string(read_plainly(self.settings.ini).decode())
        except (OSError, ServerError, UnicodeDecodeError, configparser.Error):
            return None
        return parser

    @cached_property
    def secrets(self) -> tuple[str, ...]:
        """The site's secrets that we may read, however they are spelled; longest first."""
        return tuple(sorted(known_secrets(self.kept_secrets.glob("*")), key=len, reverse=True))

    @property
    def kept_secrets(self) -> Path:
        """The folder of the site's secrets, a file each."""
        return self.current.parent / "var" / "secrets" / self.name

    def run(
        self,
        words: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        timeout: float = 30,
    ) -> tuple[int, str]:
        """Run a program of the sandbox as the site's account, never as root.

        Return its exit status (127 if it does not start) and what it printed.
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

    def apache(self, *arguments: str) -> str:
        """Return what Apache's program tells of its configuration; "" if it refuses."""
        try:
            return self.httpd.apache(*arguments)
        except ActivationError:
            return ""
