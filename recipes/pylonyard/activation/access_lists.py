"""Who may write to a file besides its owner, by its POSIX access control list.

Where a file has such a list, the group bits of its mode are the list's mask: they tell
what the named accounts and groups have at most, not what the file's own group has. The
layout of the attribute is the kernel's (``linux/posix_acl_xattr.h``).
"""

import errno
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ATTRIBUTE = "system.posix_acl_access"
VERSION = 2
USER, GROUP_OBJECT, GROUP, MASK = 0x02, 0x04, 0x08, 0x10
WRITE = 0x02


@dataclass(frozen=True)
class Writers:
    """Who may write: numbers of accounts and groups, and whether the file's own group."""

    users: frozenset[int]
    groups: frozenset[int]
    own_group: bool


def writers(path: Path) -> Writers | None:
    """Return who the access control list of ``path`` lets write; None without a list.

    :raises OSError: if it cannot be read
    :raises ValueError: if it is not as this kernel writes it
    """
    try:
        content = os.getxattr(path, ATTRIBUTE, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return None
        raise
    return parsed(content)


def parsed(content: bytes) -> Writers:
    """Return what the attribute's ``content`` grants.

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
