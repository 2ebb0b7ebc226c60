"""A reader at a bare machine, who types what the pages say."""

import dataclasses
import shlex

import pages
from bare_debian import USER, CommandFailed, Debian
from fresh_checkout import ROOT

README = ROOT / "README.md"


@dataclasses.dataclass
class Reader:
    """A reader at a bare machine, who types what README and the pages show."""

    debian: Debian
    user: str = USER
    folder: str = ""
    """Where lines are typed."""

    environ: dict[str, str] = dataclasses.field(default_factory=dict)
    """What they have in the environment besides."""

    @property
    def home(self) -> str:
        return "/root" if self.user == "root" else f"/home/{self.user}"

    def begin(self, name: str) -> None:
        """Clone the checkout into the home; what follows is done there."""
        self.folder = self.debian.clone(f"{self.home}/{name}", self.user)

    def type(self, lines: str) -> str:
        """Type lines; one that asks curl for an address fails unless that answers 200."""
        if self.debian.shows:
            print(*(f"$ {line}" for line in lines.splitlines()), sep="\n", flush=True)
        before = 'curl() { command curl --silent --show-error --fail-with-body "$@"; }\n'
        for name, text in self.environ.items():
            before += f"export {name}={shlex.quote(text)}\n"
        return self.debian.type(before + lines, self.user, self.folder).stdout

    def listen(self, lines: str) -> str:
        """Type lines, and return what they print also where that is shown as it comes."""
        silent = dataclasses.replace(self.debian, shows=False)
        said = dataclasses.replace(self, debian=silent).type(lines)
        if self.debian.shows:
            print(f"$ {lines}\n{said}", flush=True)
        return said

    def write(self, name: str, text: str) -> None:
        path = shlex.quote(f"{self.folder}/{name}")
        self.debian.type(
            f'mkdir -p "$(dirname {path})"\nprintf %s {shlex.quote(text)} > {path}', self.user
        )

    def install(self, heading: str) -> None:
        """Install the Debian packages that a section names, as root; and sudo, if it says so."""
        names = pages.packages(README, heading)
        if names:
            words = shlex.join(names)
            self.debian.type(
                "export DEBIAN_FRONTEND=noninteractive\napt-get -qq update\n"
                f"apt-get -qq install --yes --no-install-recommends {words} > /dev/null"
            )
        if "sudo" in names:
            rule = self.debian.path(f"/etc/sudoers.d/{self.user}")
            rule.write_text(f"{self.user} ALL=(ALL) NOPASSWD: ALL\n")

    def expect(self, url: str, host: str | None = None, text: str | None = None) -> None:
        """Fail unless an address answers 200, with this text if one is given."""
        status, answer = self.debian.visit(url, host)
        if status != 200:
            raise CommandFailed(f"{url}: expected 200, got {status}: {answer[:200]}")
        if text not in (None, answer):
            raise CommandFailed(f"{url}: expected {text!r}, got {answer[:200]!r}")
