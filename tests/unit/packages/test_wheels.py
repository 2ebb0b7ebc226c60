import os
import pathlib
import stat
import sysconfig
import zipfile

import pytest
from pylonyard.packages import wheels
from pylonyard.packages.wheels import WheelError
from pylonyard.system import atomic
from support import make_wheel, write_wheel

INFO = "Shop-1.0.dist-info"


def shop(folder, files):
    """Make a wheel of ``files`` and what every wheel has."""
    metadata = {f"{INFO}/METADATA": "Metadata-Version: 2.1\nName: Shop\nVersion: 1.0\n"}
    return write_wheel(folder / "Shop-1.0-py3-none-any.whl", {**files, **metadata}, INFO)


def rewritten(wheel, change):
    """Write the members of ``wheel`` again as ``change`` maps them, RECORD as it is."""
    with zipfile.ZipFile(wheel) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in change(members).items():
            archive.writestr(name, content)
    return wheel


def test_egg_has_the_wheels_packages_and_metadata(tmp_path):
    wheel = make_wheel(tmp_path, scripts="shop = shop:main")

    egg = wheels.install(wheel, tmp_path / "eggs")

    assert egg.name == wheels.egg_name(wheel)
    assert (egg / "shop.py").read_text() == "def main():\n    return 0\n"
    assert sorted(p.name for p in (egg / INFO).iterdir()) == [
        "METADATA",
        "RECORD",
        "WHEEL",
        "entry_points.txt",
    ]
    assert list((egg / "__pycache__").glob("shop.*.pyc")), "compiled for whoever may not write"
    assert os.listdir(tmp_path / "eggs") == [egg.name]


def test_name_of_an_egg_is_that_of_buildout(tmp_path):
    from zc.buildout.easy_install import pkg_resources

    name = wheels.egg_name(make_wheel(tmp_path))

    assert pkg_resources.Distribution.from_filename(name).project_name == "Shop"


def test_egg_that_is_there_is_taken_as_it_is(tmp_path):
    wheel = make_wheel(tmp_path)
    egg = wheels.install(wheel, tmp_path / "eggs")
    wheel.write_bytes(b"no wheel")

    assert wheels.install(wheel, tmp_path / "eggs", ["no digest"]) == egg


def test_recorded_digest_has_to_be_that_of_the_file(tmp_path):
    wheel = make_wheel(tmp_path)
    with pytest.raises(WheelError) as caught:
        wheels.install(wheel, tmp_path / "eggs", ["0" * 64])

    assert str(caught.value) == f"{wheel}: its SHA-256 is not one of those recorded for it"
    assert os.listdir(tmp_path / "eggs") == []
    assert wheels.install(wheel, tmp_path / "eggs", ["0" * 64, wheels.sha256(wheel)]).is_dir()


def test_data_stands_where_buildout_looks_for_it(tmp_path):
    files = {
        "Shop-1.0.data/purelib/shop/a.py": "a = 1\n",
        "Shop-1.0.data/platlib/shop/b.py": "b = 1\n",
        "Shop-1.0.data/scripts/shop": "#!python\n",
        "Shop-1.0.data/data/etc/shop.ini": "[x]\n",
    }
    wheels.unpack(shop(tmp_path, files), tmp_path / "egg")

    found = {
        path.relative_to(tmp_path / "egg").as_posix()
        for path in (tmp_path / "egg").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert found == {
        "shop/a.py",
        "shop/b.py",
        f"{INFO}/scripts/shop",
        f"{INFO}/data/etc/shop.ini",
        f"{INFO}/METADATA",
        f"{INFO}/RECORD",
    }


def test_executable_files_stay_so(tmp_path):
    wheel = shop(tmp_path, {"run.sh": "", "read.me": ""})
    with zipfile.ZipFile(wheel) as archive:
        members = {item: archive.read(item) for item in archive.infolist()}
    with zipfile.ZipFile(wheel, "w") as archive:
        for item, content in members.items():
            item.external_attr = (0o4777 if item.filename == "run.sh" else 0o600) << 16
            archive.writestr(item, content)

    wheels.unpack(wheel, tmp_path / "egg")

    modes = [stat.S_IMODE((tmp_path / "egg" / n).stat().st_mode) for n in ("run.sh", "read.me")]
    assert modes == [0o755, 0o644]


def without(name):
    return lambda members: {n: c for n, c in members.items() if n != name}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: {**m, "shop.py": b"evil"}, "shop.py differs from RECORD"),
        (lambda m: {**m, "evil.py": b""}, "evil.py is not in RECORD"),
        (without("shop.py"), "shop.py is missing"),
        (without(f"{INFO}/RECORD"), "expected one RECORD, got 0"),
        (
            lambda m: {**m, "Other-1.dist-info/RECORD": b""},
            "expected one RECORD, got 2",
        ),
        (
            lambda m: {**m, f"{INFO}/RECORD": b"shop.py,md4711=x,1\n"},
            "shop.py: expected sha256, sha384, sha512 in RECORD, got md4711",
        ),
        (
            lambda m: {**m, f"{INFO}/RECORD": b"shop.py,shake_128=x,1\n"},
            "shop.py: expected sha256, sha384, sha512 in RECORD, got shake_128",
        ),
        (
            lambda m: {**m, f"{INFO}/RECORD": b"shop.py,md5=ICy5YqxZB1uWSwcVLSNLcA,6\n"},
            "shop.py: expected sha256, sha384, sha512 in RECORD, got md5",
        ),
        (
            lambda m: {**m, f"{INFO}/RECORD": b"shop.py,,1\n"},
            "shop.py: expected sha256, sha384, sha512 in RECORD, got none",
        ),
        (
            lambda m: {**m, f"{INFO}/RECORD": b"x" * 200_000 + b",,1\n"},
            "field larger than field limit (131072)",
        ),
        (
            lambda m: {**m, "./shop.py": m["shop.py"]},
            "shop.py is there twice",
        ),
        (lambda m: {**m, f"{INFO}/RECORD": b"shop.py\n"}, "expected three columns in RECORD"),
        (
            lambda m: {**m, f"{INFO}/RECORD": b"\xff"},
            "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
        ),
    ],
)
def test_changed_wheel_is_refused_and_leaves_nothing(tmp_path, change, reason):
    wheel = rewritten(shop(tmp_path, {"shop.py": "a = 1\n"}), change)

    with pytest.raises(WheelError) as caught:
        wheels.install(wheel, tmp_path / "eggs")

    assert str(caught.value) == f"{wheel}: damaged: {reason}"
    assert os.listdir(tmp_path / "eggs") == []


@pytest.mark.parametrize(
    "name",
    [".", "../evil.py", "/evil.py", "a/../../evil.py", "a\\evil.py", "Shop-1.0.data/x/../../../e"],
)
def test_nothing_is_written_outside(tmp_path, name):
    wheel = shop(tmp_path, {name: "evil\n"})

    with pytest.raises(WheelError) as caught:
        wheels.install(wheel, tmp_path / "eggs")

    assert str(caught.value) == f"{wheel}: damaged: {name} would be written outside"
    assert sorted(os.listdir(tmp_path)) == ["Shop-1.0-py3-none-any.whl", "eggs"]
    assert os.listdir(tmp_path / "eggs") == []


def test_metadata_of_another_distribution_is_refused(tmp_path):
    wheel = shop(tmp_path, {})
    renamed = wheel.rename(tmp_path / "Till-1.0-py3-none-any.whl")

    with pytest.raises(WheelError) as caught:
        wheels.install(renamed, tmp_path / "eggs")

    assert str(caught.value) == f"{renamed}: damaged: METADATA is that of Shop"


def test_wheel_that_would_fill_the_disk_is_refused_before_anything_is_unpacked(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(wheels, "_ALWAYS", 1 << 20)
    wheel = tmp_path / "Shop-1.0-py3-none-any.whl"
    packed = zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED)
    with packed as archive, archive.open("shop.py", "w") as stream:
        stream.write(bytes(1 << 24))
    size = wheel.stat().st_size

    with pytest.raises(WheelError) as caught:
        wheels.extract(wheel, tmp_path / "egg")

    assert str(caught.value) == (
        f"{wheel}: damaged: it would unpack to 16,777,216 bytes, {(1 << 24) // size} times its size"
    )
    assert os.listdir(tmp_path / "egg") == []


def test_file_of_no_kind_of_data_is_refused(tmp_path):
    wheel = shop(tmp_path, {"Shop-1.0.data": "x"})

    with pytest.raises(WheelError, match=r"damaged: Shop-1\.0\.data is of no kind of data"):
        wheels.install(wheel, tmp_path / "eggs")


@pytest.mark.parametrize("cut", [0, 10, 100, 300])
def test_interrupted_download_is_refused(tmp_path, cut):
    wheel = make_wheel(tmp_path)
    wheel.write_bytes(wheel.read_bytes()[:cut])

    with pytest.raises(WheelError, match="damaged: File is not a zip file"):
        wheels.install(wheel, tmp_path / "eggs")


def test_broken_compression_is_refused(tmp_path):
    wheel = shop(tmp_path, {"shop.py": "a = 1\n"})
    with zipfile.ZipFile(wheel) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content * 99)
        place = archive.getinfo("shop.py").header_offset + 30 + len("shop.py")
    content = bytearray(wheel.read_bytes())
    content[place : place + 4] = b"\xff" * 4
    wheel.write_bytes(content)

    with pytest.raises(WheelError, match="damaged: Error -3 while decompressing data"):
        wheels.install(wheel, tmp_path / "eggs")


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(WheelError, match="No such file or directory"):
        wheels.unpack(tmp_path / "Shop-1.0-py3-none-any.whl", tmp_path / "egg")


def test_signed_wheel_is_taken(tmp_path):
    wheel = shop(tmp_path, {"shop.py": "", f"{INFO}/RECORD.jws": "{}"})

    assert wheels.install(wheel, tmp_path / "eggs").is_dir()


def test_slower_of_two_runs_takes_the_others_egg(tmp_path):
    draft, place = tmp_path / "draft", tmp_path / "place"
    for folder in (draft, place):
        folder.mkdir()
        (folder / "file").write_text(folder.name)

    atomic.publish(draft, place)

    assert (place / "file").read_text() == "place"


def test_egg_that_cannot_be_placed_is_an_error(tmp_path):
    (tmp_path / "draft").mkdir()
    (tmp_path / "place").write_text("a file")

    with pytest.raises(NotADirectoryError):
        atomic.publish(tmp_path / "draft", tmp_path / "place")


def test_folder_of_this_interpreter_is_that_of_buildout():
    from zc.buildout.pep425tags import get_abi_tag

    assert wheels.abi_tag() == get_abi_tag()


@pytest.mark.parametrize(
    ("tags", "wanted"),
    [
        ("py3-none-any", True),
        ("py2.py3-none-any", True),
        ("py2-none-any", False),
        ("cp27-cp27mu-manylinux1_{machine}", False),
        ("{own}-{own}-manylinux2014_{machine}.manylinux_2_17_{machine}", True),
        ("{own}-{own}-musllinux_1_2_{machine}", False),
        ("{own}-{own}-win_amd64", False),
        ("cp39-abi3-manylinux_2_17_{machine}", True),
        ("cp39-cp39-manylinux_2_17_{machine}", False),
        ("{own}-{own}-manylinux_2_17_s390x", False),
    ],
)
def test_wheel_that_fits_is_distinguished_from_others(tags, wanted):
    machine = sysconfig.get_platform().rpartition("-")[2]
    name = f"shop-1.0-{tags.format(own=wheels.abi_tag(), machine=machine)}.whl"

    assert wheels.is_supported(pathlib.Path(name)) == wanted


def test_large_wheel_is_unpacked_from_a_copy_that_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(wheels, "_IN_MEMORY", 10)
    wheel = shop(tmp_path, {"shop.py": "pass\n"})

    egg = wheels.install(wheel, tmp_path / "eggs", [wheels.sha256(wheel)])

    assert sorted(each.name for each in egg.iterdir()) == [INFO, "__pycache__", "shop.py"]
    with pytest.raises(WheelError, match="its SHA-256 is not one of those recorded"):
        wheels.extract(wheel, tmp_path / "other", ["0" * 64])
