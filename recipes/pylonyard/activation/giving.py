"""What root gives a site's account: empty folders to write into, files with secrets to read.

Each is opened by itself, through no link that another account could have put there.
"""

import grp
import os
import pwd
import stat

from pylonyard import sure_folders
from pylonyard.activation.errors import ActivationError
from pylonyard.activation.steps import Own, Permit


def settle(step: Own | Permit) -> None:
    """Take one of these steps.

    :raises ActivationError: if what is there has changed since it was planned
    :raises OSError: if it cannot be taken
    """
    if isinstance(step, Own):
        _own(step)
    else:
        _permit(step)


def _own(step: Own) -> None:
    account = pwd.getpwnam(step.user)
    owner = (account.pw_uid, account.pw_gid)
    if step.make and sure_folders.make(step.path, step.mode, owner):
        return
    with sure_folders.folder(step.path) as folder:
        if os.listdir(folder):
            raise ActivationError(f"{step.path}: expected an empty folder; run activate again")
        os.fchown(folder, *owner)


def _permit(step: Permit) -> None:
    gid = grp.getgrnam(step.group).gr_gid
    with sure_folders.folder(step.path.parent) as folder:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(step.path.name, flags, dir_fd=folder)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
                raise ActivationError(f"{step.path}: expected a regular file of one name")
            os.fchown(descriptor, -1, gid)
            os.fchmod(descriptor, step.mode)
        finally:
            os.close(descriptor)
