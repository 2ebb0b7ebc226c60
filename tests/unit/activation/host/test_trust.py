import os
import shutil
import struct
import subprocess

import pytest
from pylonyard.activation.host import trust
from pylonyard.activation.host.trust import Writers
from pylonyard.system.errors import ActivationError

OWNER, OTHER = (0x01, 6, 2**32 - 1), (0x20, 4, 2**32 - 1)
NOBODY = 65534


def attribute(*entries):
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def test_named_accounts_and_groups_may_write_as_far_as_the_mask_lets_them():
    listed = [OWNER, (0x02, 6, 1001), (0x02, 4, 1002), (0x04, 4, 0), (0x08, 7, 50), OTHER]

    assert trust.parsed_access_list(attribute(*listed, (0x10, 6, 0))) == Writers(
        frozenset({1001}), frozenset({50}), own_group=False
    )
    assert trust.parsed_access_list(attribute(*listed, (0x10, 4, 0))) == Writers(
        frozenset(), frozenset(), own_group=False
    )


@pytest.mark.parametrize("content", [b"", b"\x02", struct.pack("<I", 3), attribute(OWNER)[:-1]])
def test_unknown_access_control_list_is_refused(content):
    with pytest.raises(ValueError, match="expected an access control list of version 2"):
        trust.parsed_access_list(content)


@pytest.fixture
def listed(tmp_path):
    """Return a function that gives a file of ours a list, by setfacl."""
    if not shutil.which("setfacl"):
        pytest.skip("lacks setfacl, of Debian's package acl")
    file = tmp_path / "init.d"
    file.write_text("#!/bin/sh\n")
    file.chmod(0o644)

    def make(*words):
        made = subprocess.run(["setfacl", *words, file], capture_output=True, text=True)
        if "not supported" in made.stderr:
            pytest.skip("the file system of the tests has no access control lists")
        assert made.returncode == 0, made.stderr
        return file

    return make


def refused(file):
    with pytest.raises(ActivationError) as caught:
        trust.check([file], trust.trusted_accounts({}))
    return str(caught.value)


@pytest.mark.system
def test_a_file_is_not_believed_that_an_account_of_its_list_can_change(listed):
    file = listed("-m", f"u:{NOBODY}:rw")

    assert trust.writers(file).users == {NOBODY}
    assert refused(file) == (
        f"{file}: nobody, whom its access control list names, could change what root "
        f"uses; chmod g-w {file}"
    )
    file.chmod(file.stat().st_mode & ~0o020)  # the advice: the mask then lets nobody write
    trust.check([file], trust.trusted_accounts({}))


@pytest.mark.system
def test_a_file_is_not_believed_that_a_group_of_its_list_can_change(listed):
    file = listed("-m", f"g:{NOBODY}:rw")

    assert refused(file).startswith(f"{file}: its group (number {NOBODY}) could change")


@pytest.mark.system
def test_a_file_whose_list_lets_others_read_is_believed(listed):
    trust.check([listed("-m", f"u:{NOBODY}:r")], trust.trusted_accounts({}))


@pytest.mark.system
def test_rights_by_a_folders_default_list_are_seen(listed, tmp_path):
    listed("-n", "-m", "u::rw-")
    subprocess.run(["setfacl", "-d", "-m", f"u:{NOBODY}:rwx", tmp_path], check=True)
    old = os.umask(0)
    try:
        (tmp_path / "made").write_text("")
    finally:
        os.umask(old)

    assert "access control list names" in refused(tmp_path / "made")
