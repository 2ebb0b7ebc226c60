"""The virtual hosts that ``apache2ctl -S`` lists, in the order in which Apache looks."""

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

_SHARED = re.compile(r"(\S+:(?:\d+|\*))\s+is a NameVirtualHost")
_HOST = re.compile(r"(?:\s+port \S+ namevhost|(\S+:(?:\d+|\*)))\s+(\S+)\s+\((.+):\d+\)")
_ALIAS = re.compile(r"\s+(?:wild )?alias (\S+)")


@dataclass(frozen=True)
class VirtualHost:
    """``place`` is an address and a port; several hosts may share it."""

    place: tuple[str, str]
    name: str
    file: Path
    aliases: list[str] = field(default_factory=list)
    """Its other names, ``*`` and ``?`` in them."""

    def answers_for(self, name: str) -> bool:
        return bool(self.by(name))

    def by(self, name: str) -> str:
        """Return the directive by which this host answers for ``name``, if it does."""
        wanted = name.lower()
        if self.name.lower() == wanted:
            return "ServerName"
        is_alias = any(fnmatch.fnmatchcase(wanted, alias.lower()) for alias in self.aliases)
        return "ServerAlias" if is_alias else ""


def virtual_hosts(listed: str) -> list[VirtualHost]:
    """Return the hosts in the text that Apache prints of them.

    Of a host that is alone at its place it prints no alias; none is asked for there.
    """
    shared, hosts = "", list[VirtualHost]()
    for line in map(str.rstrip, listed.splitlines()):
        if match := _SHARED.fullmatch(line):
            shared = match[1]
        elif match := _HOST.fullmatch(line):
            address, _, port = (match[1] or shared).rpartition(":")
            hosts.append(VirtualHost((address, port), match[2], Path(match[3])))
        elif hosts and (match := _ALIAS.fullmatch(line)):
            hosts[-1].aliases.append(match[1])
    return hosts


def first_elsewhere(answering: Sequence[VirtualHost], ours: str) -> VirtualHost | None:
    """Return who else answers first at an address and port where the file ``ours`` would."""
    places = {host.place for host in answering if host.file.name == ours}
    # Who has a port at one address is asked there before those that have it at all.
    shared = {port for address, port in places if address == "*"}
    firsts = {host.place: host for host in reversed(answering)}
    for place, first in firsts.items():
        is_where_ours_is = not places or place in places or place[1] in shared
        if is_where_ours_is and first.file.name != ours:
            return first
    return None


def rival(
    hosts: Sequence[VirtualHost], name: str, ours: str, *, is_new: bool
) -> VirtualHost | None:
    """Return the host of another file that takes visitors of ``name`` from ``ours``.

    :param is_new: whether that is a new name of ours; then as well who loses them to it
    """
    answering = [host for host in hosts if host.answers_for(name)]
    places = {host.place for host in answering if host.file.name == ours}
    if not places:
        return None
    if found := first_elsewhere(answering, ours):
        return found
    others = (host for host in answering if host.file.name != ours and host.place in places)
    return next((host for host in others if is_new and host.by(name) == "ServerName"), None)
