"""What an earlier release needed open, and the one that is active now does not."""

from collections.abc import Collection, Iterator
from pathlib import Path

from pylonyard.activation import access
from pylonyard.activation.effects import Effects
from pylonyard.activation.sources import Site
from pylonyard.activation.steps import ACCOUNT_FILES


def left_over(ours: Effects, sites: Collection[Site], members: Collection[object]) -> Effects:
    """Return the memberships and modes of ``ours`` that ``sites`` do not need.

    :param members: accounts with the groups that they are needed in
    """
    needed = {need.path for site in sites for need in access.needs(site)}
    shared = [site for site in sites if site.mode == "embedded"]
    unneeded = tuple(pair for pair in ours.members if pair not in members)
    # Unless the files of accounts have changed since, they are put back as they were.
    is_whole = unneeded and unneeded == ours.members
    return Effects(
        {n: c for n, c in ours.files.items() if n in ACCOUNT_FILES} if is_whole else {},
        members=unneeded,
        modes={
            name: modes
            for name, modes in ours.modes.items()
            if (path := Path(name)) not in needed and not any(_writes(s, path) for s in shared)
        },
    )


def _writes(site: Site, path: Path) -> bool:
    return path == site.application_log or path.is_relative_to(site.data)


def told(left: Effects) -> Iterator[str]:
    """Yield the lines that tell of it."""
    for user, group in left.members:
        yield f"# {user}: no release needs it in the group {group} any more"
    # Of a folder and all that is in it, the folder says enough.
    for name in left.modes:
        if not any(str(parent) in left.modes for parent in Path(name).parents):
            yield f"# {name}: no release needs it open any more"
