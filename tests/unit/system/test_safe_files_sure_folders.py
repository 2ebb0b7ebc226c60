import os
import stat

import pytest
from pylonyard.system import safe_files

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="lacks root, whom others lead astray")
NOBODY = 65534


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def theirs(tmp_path):
    """A folder of another account's, in which it can put what it likes."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    os.chown(folder, NOBODY, NOBODY)
    return folder


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_folders_and_files_have_their_modes_whatever_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        safe_files.write(tmp_path / "a/b/key", b"one", 0o600, folder_mode=0o700)
        safe_files.make_folder(tmp_path / "c/d", 0o750)
    finally:
        os.umask(before)

    found = {str(p.relative_to(tmp_path)): mode(p) for p in tmp_path.rglob("*")}
    assert found == {"a": 0o755, "a/b": 0o700, "a/b/key": 0o600, "c": 0o755, "c/d": 0o750}
    assert safe_files.read(tmp_path / "a/b/key") == b"one"


def test_file_is_replaced_whole(tmp_path):
    place = tmp_path / "key"
    place.write_text("a longer text")

    safe_files.write(place, b"short", 0o600)

    assert (place.read_bytes(), mode(place), os.listdir(tmp_path)) == (b"short", 0o600, ["key"])


def test_missing_file_is_none(tmp_path):
    assert safe_files.read(tmp_path / "key") is None
    assert safe_files.read(tmp_path / "a/b/key") is None
    assert safe_files.make_folder(tmp_path / "new", 0o755) is True
    assert safe_files.make_folder(tmp_path / "new", 0o755) is False


def test_link_of_our_own_is_followed(tmp_path):
    (tmp_path / "real/inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "whole").symlink_to(tmp_path / "real")

    safe_files.write(tmp_path / "link/inner/key", b"x", 0o600)

    assert safe_files.read(tmp_path / "whole/inner/key") == b"x"


def test_links_that_lead_in_a_circle_are_an_error(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")

    with pytest.raises(OSError, match="too many links"):
        safe_files.read(tmp_path / "a/key")


@needs_root
@pytest.mark.parametrize("act", ["read", "write", "make"])
def test_link_of_another_account_is_not_followed(theirs, tmp_path, act):
    target = tmp_path / "target"
    target.mkdir()
    (target / "key").write_text("root's own")
    (theirs / "link").symlink_to(target)
    actions = {
        "read": lambda: safe_files.read(theirs / "link/key"),
        "write": lambda: safe_files.write(theirs / "link/key", b"x", 0o600),
        "make": lambda: safe_files.make_folder(theirs / "link/new", 0o755, (NOBODY, NOBODY)),
    }

    with pytest.raises(OSError, match="expected a folder, got a link"):
        actions[act]()

    assert [p.name for p in target.iterdir()] == ["key"]
    assert (target / "key").read_text() == "root's own"


@needs_root
def test_link_of_ours_in_their_folder_is_not_followed_either(theirs, tmp_path):
    """They can rename it, and put their own there, at any time."""
    (theirs / "link").symlink_to(tmp_path)

    with pytest.raises(OSError, match="got a link"):
        safe_files.read(theirs / "link/key")


@needs_root
@pytest.mark.parametrize("kind", ["link", "hard link", "pipe", "folder"])
def test_only_a_plain_file_is_read(theirs, tmp_path, kind):
    precious = tmp_path / "precious"
    precious.write_text("root's own")
    place = theirs / "key"
    if kind == "link":
        place.symlink_to(precious)
    elif kind == "hard link":
        place.hardlink_to(precious)
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        place.mkdir()

    with pytest.raises(OSError):
        safe_files.read(place)


@needs_root
def test_writing_replaces_a_link_not_its_target(theirs, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("root's own")
    (theirs / "key").symlink_to(precious)
    (theirs / f".key.{os.getpid()}").symlink_to(precious)

    safe_files.write(theirs / "key", b"x", 0o600)

    assert precious.read_text() == "root's own"
    assert not (theirs / "key").is_symlink()
