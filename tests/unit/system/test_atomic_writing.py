import os
import stat

import pytest
from pylonyard.system.atomic import Artifact, Link, directory, files_below, link, stage, write


def names(folder):
    return sorted(os.listdir(folder))


def mode(path):
    return stat.S_IMODE(path.lstat().st_mode)


def test_file_is_written_with_its_mode_whatever_the_umask(tmp_path):
    path = tmp_path / "a" / "b" / "script"
    before = os.umask(0o077)
    try:
        assert write(path, b"text\n", 0o755) is True
    finally:
        os.umask(before)

    assert path.read_bytes() == b"text\n"
    assert (mode(path), mode(path.parent), mode(path.parent.parent)) == (0o755,) * 3


def test_equal_file_is_not_touched(tmp_path):
    path = tmp_path / "file"
    write(path, b"a")
    before = path.stat()

    assert write(path, b"a") is False

    assert path.stat() == before


@pytest.mark.parametrize(("content", "bits"), [(b"b", 0o644), (b"ab", 0o644), (b"a", 0o600)])
def test_other_content_or_mode_replaces_the_file(tmp_path, content, bits):
    path = tmp_path / "file"
    write(path, b"a")

    assert write(path, content, bits) is True

    assert (path.read_bytes(), mode(path), names(tmp_path)) == (content, bits, ["file"])


def test_link_is_replaced_not_followed(tmp_path):
    victim, path = tmp_path / "victim", tmp_path / "file"
    victim.write_bytes(b"a")
    path.symlink_to(victim)

    assert write(path, b"a") is True

    assert not path.is_symlink()
    write(path, b"b")
    assert victim.read_bytes() == b"a"


def test_failed_write_keeps_the_old_file_and_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write(path, b"old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write(path, b"new")

    assert (path.read_bytes(), names(tmp_path)) == (b"old", ["file"])


def test_very_long_name_still_has_a_draft(tmp_path):
    assert write(tmp_path / ("n" * 250), b"") is True


def test_links_are_made_and_changed_with_one_rename(tmp_path):
    path = tmp_path / "a" / "env"

    assert link(path, "one") is True
    assert link(path, "one") is False
    assert link(path, "two") is True

    assert (os.readlink(path), names(tmp_path / "a")) == ("two", ["env"])


def test_link_replaces_a_file(tmp_path):
    (tmp_path / "env").write_text("x")

    assert link(tmp_path / "env", "target") is True

    assert os.readlink(tmp_path / "env") == "target"


def test_directory_that_is_there_keeps_its_mode(tmp_path):
    (tmp_path / "a").mkdir(mode=0o700)

    directory(tmp_path / "a")
    directory(tmp_path / "b" / "c", 0o750)

    assert mode(tmp_path / "a") == 0o700
    assert (mode(tmp_path / "b"), mode(tmp_path / "b" / "c")) == (0o755, 0o750)


def test_directory_below_a_file_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(FileExistsError):
        directory(tmp_path / "file")


def test_staging_writes_what_is_wanted_and_removes_what_is_not(tmp_path):
    root = tmp_path / "part"
    stage(root, [Artifact("etc/old", "x"), Link("shop/old", "x"), Artifact("bin/shop", "1")])

    written = stage(root, [Artifact("bin/shop", "2", 0o755), Link("shop/env", "/srv/env")])

    assert written == [root / "bin/shop", root / "shop/env"]
    assert list(files_below(root)) == written
    assert (root / "bin/shop").read_text() == "2"


def test_files_below_are_in_order_and_links_to_folders_count_as_files(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "z").touch()
    (tmp_path / "b" / "a").symlink_to(tmp_path)
    (tmp_path / "c").touch()

    found = [path.relative_to(tmp_path).as_posix() for path in files_below(tmp_path)]

    assert found == ["c", "b/a", "b/z"]
