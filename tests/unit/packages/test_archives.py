import io
import os
import tarfile
import zipfile

import pytest
from pylonyard.packages.archives import metadata_of, unpack
from pylonyard.system.errors import CommandError


@pytest.fixture
def folder(tmp_path):
    target = tmp_path / "to"
    target.mkdir()
    return target


def tar(path, **members):
    with tarfile.open(path, "w:gz") as packed:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                packed.addfile(info)
            else:
                info.size, info.mode = len(content), 0o775
                packed.addfile(info, io.BytesIO(content))
    return path


def test_tree_of_a_tar_file_is_returned_with_its_modes(tmp_path, folder):
    archive = tar(tmp_path / "a.tar.gz", **{"a-1.0/configure": b"#!/bin/sh\n"})

    tree = unpack(archive, folder)

    assert tree == folder / "a-1.0"
    assert (tree / "configure").read_bytes() == b"#!/bin/sh\n"
    assert os.access(tree / "configure", os.X_OK)


def test_tree_of_a_zip_file_is_returned(tmp_path, folder):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("a-1.0/setup.py", "")

    assert unpack(tmp_path / "a.zip", folder) == folder / "a-1.0"


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x"])
def test_archive_that_would_write_elsewhere_is_refused(tmp_path, folder, name):
    archive = tar(tmp_path / "a.tar.gz", **{name: b""})

    with pytest.raises(CommandError) as caught:
        unpack(archive, folder)

    assert str(caught.value) == f"cannot unpack {archive}: {name} would be written outside"
    assert os.listdir(folder) == []


def test_nothing_is_written_through_a_link_that_leads_elsewhere(tmp_path, folder):
    (tmp_path / "elsewhere").mkdir()
    members = {"a/b": str(tmp_path / "elsewhere"), "a/b/c": b"here"}

    try:
        unpack(tar(tmp_path / "a.tar.gz", **members), folder)
    except CommandError as error:
        assert "link to an absolute path" in str(error)

    assert os.listdir(tmp_path / "elsewhere") == []


def test_archive_without_a_single_top_folder_is_refused(tmp_path, folder):
    (tmp_path / "a.tar.gz").write_bytes(b"no")

    for archive in (tmp_path / "a.tar.gz", tar(tmp_path / "b.tar.gz", x=b"", y=b"")):
        with pytest.raises(CommandError, match=rf"^cannot unpack {archive}: "):
            unpack(archive, folder)


STATED = "Metadata-Version: 2.2\nName: Shop\nVersion: 1.0\nRequires-Dist: lib\n"
REQUIRES = "lib\n\n[card]\npay>=2\n"


@pytest.mark.parametrize(
    ("info", "leniently", "found"),
    [
        (STATED, False, STATED),
        (STATED + "Dynamic: Requires-Dist\n", False, "built"),
        (STATED.replace("2.2", "2.1"), False, "built"),
        (
            STATED.replace("2.2", "1.0"),
            True,
            "Name: Shop\nVersion: 1.0\nRequires-Dist: lib\n"
            'Requires-Dist: pay>=2; extra == "card"\n',
        ),
    ],
)
def test_metadata_is_what_an_archive_states_for_good_or_what_its_build_gives(
    tmp_path, info, leniently, found
):
    tree = tmp_path / "Shop-1.0"
    (tree / "Shop.egg-info").mkdir(parents=True)
    (tree / "PKG-INFO").write_text(info)
    (tree / "Shop.egg-info" / "requires.txt").write_text(REQUIRES)
    with tarfile.open(tmp_path / "Shop-1.0.tar.gz", "w:gz") as packed:
        packed.add(tree, tree.name)

    assert metadata_of(tmp_path / "Shop-1.0.tar.gz", built, leniently=leniently) == found


def built(tree, folder):
    assert (tree / "PKG-INFO").exists()
    return "built"
