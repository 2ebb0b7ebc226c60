"""``bin/pylonyard``: the whole sandbox, for those who operate it."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from zc.buildout import UserError

from pylonyard import locking
from pylonyard.releases import NoRelease, Releases, link_commands


def list_releases(releases: Releases) -> None:
    current = releases.current_number()
    for number in releases.numbers():
        mark = "*" if number == current else " "
        made = releases.manifest(number).get("made", "manifest damaged")
        print(f"{mark} {number:>4}  {made}")


def rollback(releases: Releases, bin_folder: Path, wanted: int | None) -> None:
    """Make ``wanted`` the current release; without one, that before the current.

    :raises NoRelease: if there is none such
    """
    if wanted is None:
        current = releases.current_number() or 0
        earlier = [number for number in releases.numbers() if number < current]
        if not earlier:
            raise NoRelease("there is no earlier release to return to")
        wanted = earlier[-1]
    releases.flip(wanted)
    link_commands(bin_folder, releases.current)
    print(f"Release {wanted} is current. Restart the server for it to be served.")


def parser() -> argparse.ArgumentParser:
    described = argparse.ArgumentParser(prog="pylonyard", description=__doc__)
    actions = described.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("releases", help="list the releases; * marks the current one")
    back = actions.add_parser("rollback", help="return to the release before, or to NUMBER")
    back.add_argument("number", nargs="?", type=int, metavar="NUMBER")
    return described


def main(directory: str, bin_folder: str, arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit status."""
    words = parser().parse_args(arguments)
    releases = Releases(Path(directory, "releases"), Path(directory, "current"))
    try:
        if words.action == "releases":
            list_releases(releases)
        else:
            locking.hold(Path(directory))
            rollback(releases, Path(bin_folder), words.number)
    except (NoRelease, UserError) as error:
        print(f"pylonyard: {error}", file=sys.stderr)
        return 1
    return 0
