"""Apache: its configuration checked, a private one started, the machine's reloaded."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path

from pylonyard.system.errors import ActivationError
from pylonyard.webservers.registry import (
    Checked,
    Command,
    Finding,
    ServerState,
    Site,
    WebServer,
    part,
)

FOLDER = "/etc/apache2"

# Debian records here who enabled a module or site. Modules have folders of their own.
MODULES = (f"{FOLDER}/mods-enabled", "/var/lib/apache2/module")
SITES = (f"{FOLDER}/sites-enabled", "/var/lib/apache2/site")


class Apache(WebServer):
    """Debian's Apache, whose modules and sites have commands that enable them."""

    def enable(self, site: str) -> Command:
        return Command(("a2ensite", site), SITES)

    def disable(self, site: str) -> Command:
        return Command(("a2dissite", site), SITES)

    def enable_modules(self, modules: Iterable[str]) -> Command:
        return Command(("a2enmod", *modules), MODULES)

    def serves_by(self, content: bytes, name: str) -> bool:
        pattern = rf"^\s*ServerName\s+{re.escape(name)}\s*$".encode()
        return re.search(pattern, content, re.M) is not None

    def enable_commands(
        self,
        sites: Iterable[Site],
        seen: ServerState,
        laid: Collection[str],
        again: Collection[str],
    ) -> Iterator[Command]:
        theirs = list(sites)
        modules = list(dict.fromkeys(name for site in theirs for name in site.modules))
        there = seen.available_modules | {Path(name).stem for name in laid if "/mods-" in name}
        if absent := [name for name in modules if name not in there]:
            raise ActivationError(
                f"Apache's module {absent[0]}: expected {FOLDER}/mods-available/{absent[0]}.load, "
                "which is missing; install the package that has it"
            )
        if missing := [name for name in modules if name not in seen.enabled_modules]:
            yield self.enable_modules(missing)
        yield from super().enable_commands(theirs, seen, laid, again)

    def drop_commands(self, name: str, seen: ServerState, *, is_ours: bool) -> Iterator[Command]:
        stem = Path(name).stem
        is_module = name == f"{FOLDER}/mods-available/{stem}.load"
        if is_module and is_ours and stem in seen.enabled_modules:
            yield Command(("a2dismod", stem), MODULES)
        yield from super().drop_commands(name, seen, is_ours=is_ours)

    def listens(self, content: str) -> list[tuple[int, bool]]:
        found = re.findall(r"(?m)^Listen 127\.0\.0\.1:(\d+) (https?)$", content)
        return [(int(port), scheme == "https") for port, scheme in found]

    def checks(self) -> Mapping[str, Callable[[Checked], Iterator[Finding]]]:
        found: Mapping[str, Callable[[Checked], Iterator[Finding]]] = part(
            self.name, "checks"
        ).CHECKS
        return found

    def hello(self, site: Checked, folder: Path, port: int) -> list[str | Path]:
        words: list[str | Path] = part(self.name, "checks").hello(site, folder, port)
        return words

    def links(self, modules: Iterable[str]) -> frozenset[str]:
        """Return the links that enable modules, with Debian's records of them."""
        folder, record = MODULES
        names = list(modules)
        enabled = {f"{folder}/{name}{end}" for name in names for end in (".load", ".conf")}
        return frozenset(enabled | {f"{record}/enabled_by_admin/{name}" for name in names})


SERVER = Apache(
    name="apache",
    title="Apache",
    program="apache2",
    package="apache2",
    service="apache2",
    folder=FOLDER,
    shared=r"mods-available/wsgi\.load",
    loading="mods-available/*.load",
    test="apache2ctl configtest",
    graceful="apache2ctl graceful",
    hosts="apache2ctl -S",
    private="httpd",
    # A child that got SIGTERM, and requests that any client can make and Apache refuses: a path
    # that leads out of the root, a malformed URI, an unknown method.
    harmless="AH00558|caught SIG|client denied by server configuration|^AH(?:10244|00126|00135): ",
    log_time=(
        r"\[\w{3} (\w{3} [ \d]\d \d\d:\d\d:\d\d)(?:\.\d+)? (\d{4})\]",
        "%b %d %H:%M:%S %Y",
    ),
)
