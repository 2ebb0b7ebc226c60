"""Check that only accounts that root trusts can change the files that root uses."""

import errno
import grp
import importlib.machinery
import os
import pwd
import shlex
import stat
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pylonyard.config.layout import REAL_SERVER, page
from pylonyard.system import accounts
from pylonyard.system.errors import ActivationError, CommandError
from pylonyard.system.subprocesses import linked_libraries

# Who may write to a file besides its owner, by its POSIX access control list.
#
# Where a file has such a list, the group bits of its mode are the list's mask: they tell
# what the named accounts and groups have at most, not what the file's own group has. The
# layout of the attribute is the kernel's (``linux/posix_acl_xattr.h``).


ATTRIBUTE = "system.posix_acl_access"
VERSION = 2
USER, GROUP_OBJECT, GROUP, MASK = 0x02, 0x04, 0x08, 0x10
WRITE = 0x02


@dataclass(frozen=True)
class Writers:
    """The numbers of accounts and groups that may write, and whether the file's group may."""

    users: frozenset[int]
    groups: frozenset[int]
    own_group: bool


def writers(path: Path) -> Writers | None:
    """Return the writers in the access control list of ``path``; None without a list.

    :raises OSError: if it cannot be read
    :raises ValueError: if it is not as this kernel writes it
    """
    try:
        content = os.getxattr(path, ATTRIBUTE, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return None
        raise
    return parsed_access_list(content)


def parsed_access_list(content: bytes) -> Writers:
    """Return the writers in the attribute's ``content``.

    :raises ValueError: if it is of another version, or cut short
    """
    if len(content) % 8 != 4 or struct.unpack_from("<I", content)[0] != VERSION:
        raise ValueError(f"expected an access control list of version {VERSION}")
    entries = list(_entries(content))
    mask = next((rights for tag, rights, _ in entries if tag == MASK), WRITE)
    able = [(tag, number) for tag, rights, number in entries if rights & mask & WRITE]
    return Writers(
        users=frozenset(number for tag, number in able if tag == USER),
        groups=frozenset(number for tag, number in able if tag == GROUP),
        own_group=any(tag == GROUP_OBJECT for tag, _ in able),
    )


def _entries(content: bytes) -> Iterator[tuple[int, int, int]]:
    yield from struct.iter_unpack("<HHI", content[4:])


BYTECODE = "__pycache__"


def trusted_accounts(environ: Mapping[str, str] = os.environ) -> frozenset[int]:
    """Return root, ourselves, and the account that called us through sudo."""
    caller = environ.get("SUDO_UID", "")
    return frozenset({0, os.geteuid(), *([int(caller)] if caller.isdigit() else [])})


def check(paths: Iterable[Path], trusted: frozenset[int]) -> None:
    """Check that only ``trusted`` accounts can change ``paths``.

    :raises ActivationError: naming the first path that others can change, or that is missing
    """
    known: set[Path] = set()
    for path in paths:
        for place in _path_components(path, known):
            try:
                status = place.lstat()
            except OSError as error:
                raise ActivationError(f"{place}: {error.strerror}") from error
            if stat.S_ISLNK(status.st_mode):
                # A link can be changed by those who may write into its folder, which
                # was looked at; but its owner can, in no other way, matter.
                continue
            if why := _who_can_change(place, status, trusted):
                remedy = _remedy(place, status, trusted)
                raise ActivationError(f"{place}: {why} could change what root uses; {remedy}")


def imported(package: Path) -> Iterator[Path]:
    """Yield all files of a package that Python would run: sources, and bytecode."""
    suffixes = tuple(importlib.machinery.all_suffixes())
    for path in package.rglob("*"):
        if path.name == BYTECODE or path.name.endswith(suffixes):
            yield path


def _remedy(place: Path, status: os.stat_result, trusted: frozenset[int]) -> str:
    """Return advice that harms nobody: the path may be somebody's home."""
    # The owner of bytecode decides what it does; Python compiles it again.
    if BYTECODE in (place.name, place.parent.name):
        return shlex.join(["rm", "-r", str(place if place.name == BYTECODE else place.parent)])
    if place.suffix in importlib.machinery.BYTECODE_SUFFIXES:
        return shlex.join(["rm", str(place)])
    if status.st_uid in trusted:
        whose = "o" if status.st_mode & stat.S_IWOTH else "g"
        return shlex.join(["chmod", f"{whose}-w", str(place)])
    is_able = _is_person(status) and accounts.has_sudo()
    by_sudo = f"let {accounts.account_name(status.st_uid)} run this by sudo, or " if is_able else ""
    return f"{by_sudo}serve from a checkout of root's, below /srv: {page(REAL_SERVER)}"


def _is_person(status: os.stat_result) -> bool:
    """Return whether somebody may log in as the owner of a file."""
    try:
        shell = pwd.getpwuid(status.st_uid).pw_shell
    except KeyError:
        return False
    return os.path.basename(shell) not in ("nologin", "false")


def libraries(module: Path) -> list[Path]:
    """Return the libraries that a trusted program loads with ``module``."""
    try:
        return [Path(file) for file in linked_libraries(module).values() if file]
    except CommandError:
        return []


def _path_components(path: Path, known: set[Path]) -> Iterator[Path]:
    """Yield each folder above ``path``, after following links, and ``path``."""
    for place in [*reversed(path.parents), path]:
        if place in known:
            continue
        known.add(place)
        yield place
        if place.is_symlink():
            yield from _path_components(place.parent / os.readlink(place), known)


def _who_can_change(place: Path, status: os.stat_result, trusted: frozenset[int]) -> str:
    """Describe who else can change ``place``; '' if nobody can."""
    if status.st_uid not in trusted:
        return f"its owner {accounts.account_name(status.st_uid)}"
    if stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX:
        return ""  # as /tmp: nobody can rename what is another's
    if status.st_mode & stat.S_IWOTH:
        return "everybody"
    if not status.st_mode & stat.S_IWGRP:
        return ""
    try:
        listed = writers(place)
    except (OSError, ValueError) as error:
        return f"accounts of its access control list ({error})"
    return _who_can_change_by_group(status, listed, trusted)


def _who_can_change_by_group(
    status: os.stat_result, listed: Writers | None, trusted: frozenset[int]
) -> str:
    """Describe who may write by the group bits of the mode."""
    if listed and (users := listed.users - trusted):
        return f"{accounts.account_name(min(users))}, whom its access control list names,"
    groups = set(listed.groups) if listed else set()
    if listed is None or listed.own_group:
        groups.add(status.st_gid)
    others = sorted(gid for gid in groups if not _is_own_group(gid, trusted))
    return f"its group (number {others[0]})" if others else ""


def _is_own_group(gid: int, trusted: frozenset[int]) -> bool:
    """Return whether a group is that of a trusted account alone, as Debian makes them."""
    if gid == 0:
        return True
    try:
        group = grp.getgrgid(gid)
    except KeyError:
        return False
    return gid in trusted and group.gr_name == accounts.account_name(gid) and not group.gr_mem
