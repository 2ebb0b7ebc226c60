"""Init scripts, and the run levels that start them."""

from typing import TYPE_CHECKING

from pylonyard.watchers.registry import Check, Command, Starter

if TYPE_CHECKING:
    from pylonyard.system.rootfs import Tree

RUN_LEVELS = tuple(f"/etc/rc{level}.d" for level in "0123456S")
STARTED = "2345"
"""The run levels in which Debian starts servers."""


class Init(Starter):
    """``/etc/init.d``, by Debian's ``update-rc.d``."""

    def control(self, site: str, action: str) -> tuple[str, ...]:
        return (self.file(site), action)

    def running_command(self, site: str) -> tuple[str, ...]:
        # 4: it runs, but does not answer, or where the release before this had it do so.
        return ("sh", "-c", '"$0" status || [ $? -eq 4 ]', self.file(site))

    def enable(self, site: str) -> Command:
        return ("update-rc.d", site, "defaults"), RUN_LEVELS

    def disable(self, site: str) -> Command:
        return ("update-rc.d", "-f", site, "remove"), RUN_LEVELS

    def enabled(self, tree: "Tree") -> set[str]:
        return _linked(tree, "S")

    def registered(self, tree: "Tree") -> set[str]:
        return _linked(tree, "SK")

    def is_part(self, name: str) -> bool:
        return self.owns(name) or name.startswith(tuple(f"{level}/" for level in RUN_LEVELS))


def _linked(tree: "Tree", letters: str) -> set[str]:
    """Return the scripts that a run level starts (``S``) or stops (``K``)."""
    levels = [f"/etc/rc{level}.d" for level in STARTED]
    return {name[3:] for level in levels for name in tree.names(level) if name[0] in letters}


WATCHER = Init(
    name="init",
    folder="/etc/init.d",
    what="init script",
    checks=(
        Check(("sh", "-n"), "dash"),
        Check(("checkbashisms",), "devscripts", is_needed=False),
    ),
)
