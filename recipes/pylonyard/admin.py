"""``bin/pylonyard``: the whole sandbox, for those who operate it."""

import argparse
import functools
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pylonyard import locking, release_diff, toolbox
from pylonyard.activation import trust
from pylonyard.activation.commands import Activation
from pylonyard.activation.errors import ActivationError
from pylonyard.activation.sources import Site, described_sites
from pylonyard.activation.tree import Tree
from pylonyard.errors import UserError
from pylonyard.releases import NoRelease, Releases, link_commands
from pylonyard.running import as_account
from pylonyard.server.errors import ServerError

tell = functools.partial(print, flush=True)

EXAMPLES = """\
examples:
  sudo bin/pylonyard activate --dry-run    what would be done to the machine
  bin/pylonyard doctor                     what is wrong, and what to do
  bin/pylonyard rollback                   back to the release before
"""


@dataclass(frozen=True)
class Sandbox:
    """The sandbox that the command line is about."""

    directory: Path
    bin: Path

    @property
    def releases(self) -> Releases:
        return Releases(self.directory / "releases", self.directory / "current")

    def activation(self, root: str) -> Activation:
        return Activation(self.directory, self.releases, Tree(Path(root).resolve()))


def list_releases(sandbox: Sandbox, root: str) -> None:
    """Print each release: when it was made, what it is, what it changed."""
    releases = sandbox.releases
    current, active = releases.current_number(), sandbox.activation(root).active()
    earlier = None
    for number in releases.numbers():
        manifest = releases.manifest(number)
        made = str(manifest.get("made", "manifest damaged"))
        states = [s for s, n in (("current", current), ("active", active)) if n == number]
        changed = str(release_diff.changes(earlier, manifest)) if earlier else ""
        mark = "*" if number == current else " "
        print(f"{mark} {number:>4}  {made:<20}  {', '.join(states):<15}  {changed}".rstrip())
        earlier = manifest or earlier


def show_difference(sandbox: Sandbox, older: int, newer: int) -> None:
    """Print what differs between two releases.

    :raises NoRelease: if there is none of a number
    """
    releases = sandbox.releases
    for number in (older, newer):
        if not releases.path(number).is_dir():
            raise NoRelease(f"there is no release {number} in {releases.folder}")
    for line in release_diff.told(releases, older, newer, sandbox.directory / "var" / "secrets"):
        print(line)


def rollback(sandbox: Sandbox, wanted: int | None, root: str) -> int:
    """Make ``wanted`` the current release, what serves included; default: the one before.

    Return 1 if a server goes on as it was, because it could not be restarted.

    :raises NoRelease: if there is none such
    """
    releases = sandbox.releases
    if os.geteuid() == 0:
        # Whoever could put links there would choose where root writes.
        places = [sandbox.directory, releases.folder, sandbox.bin]
        trust.check(filter(os.path.exists, places), trust.trusted())
    locking.hold(sandbox.directory)
    before = releases.current_number()
    if wanted is None:
        earlier = [number for number in releases.numbers() if number < (before or 0)]
        if not earlier:
            raise NoRelease("there is no earlier release to return to")
        wanted = earlier[-1]
    _flip(sandbox, wanted)
    activation = sandbox.activation(root)
    try:
        is_laid = _lay_again(activation)
    except (ActivationError, UserError):
        if before is not None:
            _flip(sandbox, before)
        raise
    print(f"Release {wanted} is current{', and active' if is_laid else ''}.")
    return _serve_again(sandbox, before, wanted)


def _flip(sandbox: Sandbox, number: int) -> None:
    sandbox.releases.flip(number)
    link_commands(sandbox.bin, sandbox.releases.current)


def _lay_again(activation: Activation) -> bool:
    """Lay the current release over ``/etc``, if one was; return whether it is now."""
    if not activation.is_allowed:
        print("If one was active: sudo bin/pylonyard activate")
        return False
    if activation.recorded() is None:
        return False
    activation.activate(tell)
    return True


def _serve_again(sandbox: Sandbox, before: int | None, number: int) -> int:
    """Restart each server of the sandbox that runs; return 1 if one could not be.

    Its own Apache reads its files again if they have changed: mod_wsgi gives its
    processes little time then, while a new release alone takes the place of the old.
    """
    failures = 0
    for site in described_sites(sandbox.releases.path(number)):
        if site.has_server and (control := sandbox.bin / site.name).exists():
            failures += _told(control, "try-restart", site) != 0
        control = sandbox.bin / f"{site.name}-httpd"
        if control.exists() and _apache_differs(sandbox, site, before, number):
            _told(control, "graceful", site)
    return min(failures, 1)


def _told(control: Path, action: str, site: Site) -> int:
    """Run a command as the site's account: root runs nothing of what that can write."""
    finished = subprocess.run(
        [control, action], capture_output=True, text=True, **as_account(site.user)
    )
    if finished.returncode == 0 or action == "try-restart":
        print((finished.stdout + finished.stderr).strip())
    return finished.returncode


def _apache_differs(sandbox: Sandbox, site: Site, before: int | None, number: int) -> bool:
    names = (
        f"etc/apache2/sites-available/{site.name}.conf",
        "etc/apache2/mods-available/wsgi.load",
        f"{site.name}/httpd.conf",
    )
    folders = [sandbox.releases.path(each) for each in (before or number, number)]
    texts = [
        [path.read_bytes() if (path := folder / name).exists() else b"" for name in names]
        for folder in folders
    ]
    return texts[0] != texts[1]


def parser() -> argparse.ArgumentParser:
    described = argparse.ArgumentParser(
        prog="pylonyard",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = described.add_subparsers(dest="action", required=True, metavar="ACTION")
    listed = actions.add_parser("releases", help="list the releases; * marks the current one")
    inner = listed.add_subparsers(dest="what", metavar="diff")
    compared = inner.add_parser("diff", help="show what differs between two, secrets masked")
    compared.add_argument("older", type=int, metavar="A")
    compared.add_argument("newer", type=int, metavar="B")
    back = actions.add_parser("rollback", help="return to the release before, or to NUMBER")
    back.add_argument("number", nargs="?", type=int, metavar="NUMBER")
    laid = actions.add_parser("activate", help="lay the current release over /etc (as root)")
    laid.add_argument("--dry-run", action="store_true", help="only tell each step")
    laid.add_argument("--force-new", action="store_true", help="replace edited files; keep them")
    gone = actions.add_parser("deactivate", help="undo exactly what activate did (as root)")
    examined = actions.add_parser("doctor", help="find out what is wrong, and what to do")
    examined.add_argument("--json", action="store_true", help="for machines")
    stored = actions.add_parser("cache", help="show what the cache holds, and who uses it")
    stored.add_argument("--clean", action="store_true", help="remove what no kept release needs")
    stored.add_argument("--dry-run", action="store_true", help="only tell what --clean removes")
    locked = actions.add_parser("lock", help="record every file that the current release runs on")
    locked.add_argument("--file", type=Path, metavar="FILE", help="default: profiles/pylock.toml")
    locked.add_argument("--offline", action="store_true", help="this machine's files alone")
    locked.add_argument("--index", metavar="URL", help="whose SHA-256 digests to record")
    locked.add_argument(
        "--with",
        dest="also",
        action="append",
        default=[],
        metavar="NAME==VERSION",
        help="a distribution that only other interpreters need",
    )
    packed = actions.add_parser("bundle", help="pack what a machine without network needs")
    packed.add_argument("file", type=Path, metavar="FILE", help="such as shop.tar.gz; a new one")
    for each in (listed, back, laid, gone, examined):
        each.add_argument("--root", default="/", metavar="DIR", help="a scratch tree, for /")
    return described


def examine(sandbox: Sandbox, activation: Activation, *, as_json: bool) -> int:
    # Imported here: other actions have no need of it, and no time.
    toolbox.bring("configupdater")
    from pylonyard.doctor import command

    return command.examine(sandbox.releases, activation, sys.stdout, as_json=as_json)


def lock(sandbox: Sandbox, words: argparse.Namespace) -> None:
    # Imported here: other actions have no need of it, and no time.
    toolbox.bring()
    from pylonyard import lock_command
    from pylonyard.index_pages import Places

    file = sandbox.directory / (words.file or "profiles/pylock.toml")
    places = None if words.offline else Places(index=words.index)
    written = lock_command.command(sandbox.directory, file, words.also, places)
    print(f"{file} locks {written.number} distributions; review it, and commit it.")
    if written.lacking:
        print(
            f"It lacks what another Python would need: {', '.join(written.lacking)}; to have that "
            "as well, add --with NAME==VERSION for each."
        )


def cache(sandbox: Sandbox, *, clean: bool, dry_run: bool) -> None:
    # Imported here: other actions have no need of it, and no time.
    toolbox.bring()
    from pylonyard import cache_command

    if clean or dry_run:
        cache_command.clean(sandbox.directory, tell, dry_run=dry_run)
    else:
        cache_command.show(sandbox.directory, tell)


def bundle(sandbox: Sandbox, file: Path) -> None:
    # Imported here: other actions have no need of it, and no time.
    toolbox.bring()
    from pylonyard import bundle as bundling

    bundling.command(sandbox.directory, file.absolute(), tell)


def act(sandbox: Sandbox, words: argparse.Namespace) -> int:
    activation = sandbox.activation(getattr(words, "root", "/"))
    actions: dict[str, Callable[[], int | None]] = {
        "releases": lambda: (
            show_difference(sandbox, words.older, words.newer)
            if words.what
            else list_releases(sandbox, words.root)
        ),
        "rollback": lambda: rollback(sandbox, words.number, words.root),
        "activate": lambda: (
            activation.dry_run(tell, force_new=words.force_new)
            if words.dry_run
            else activation.activate(tell, force_new=words.force_new)
        ),
        "deactivate": lambda: activation.deactivate(tell),
        "bundle": lambda: bundle(sandbox, words.file),
        "cache": lambda: cache(sandbox, clean=words.clean, dry_run=words.dry_run),
        "lock": lambda: lock(sandbox, words),
        "doctor": lambda: examine(sandbox, activation, as_json=words.json),
    }
    return actions[words.action]() or 0


def main(directory: str, bin_folder: str, arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit status."""
    words = parser().parse_args(arguments)
    try:
        return act(Sandbox(Path(directory), Path(bin_folder)), words)
    except (ActivationError, NoRelease, ServerError, UserError) as error:
        print(f"pylonyard: {error}", file=sys.stderr)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        print(f"pylonyard: {error.filename}: {error.strerror}", file=sys.stderr)
    return 1
