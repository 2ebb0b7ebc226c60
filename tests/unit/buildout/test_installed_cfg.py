import os

import pytest
from pylonyard.buildout import installed_cfg
from pylonyard.buildout.installed_cfg import Bounds, RecordDamagedError

RECORD = """\
[buildout]
installed_develop_eggs = {d}/develop-eggs/shop.egg-link
\t{d}/develop-eggs/__editable__.shop.pth
parts = site app release

[site]
__buildout_installed__ =
__buildout_signature__ = pylonyard-0b7a845b
name = shop
recipe = pylonyard:site

[app]
__buildout_installed__ = {d}/parts/app
\t{d}/bin/paster
__buildout_signature__ = pylonyard-0b7a845b
eggs = Shop
\tPaste
recipe = pylonyard:pylons_app

[release]
__buildout_installed__ = {d}/parts/release
__buildout_signature__ = pylonyard-0b7a845b
recipe = pylonyard:release
"""


@pytest.fixture
def bounds(tmp_path):
    folders = tuple(tmp_path / name for name in ("parts", "bin", "develop-eggs"))
    for folder in folders:
        folder.mkdir()
    return Bounds(tmp_path, folders)


@pytest.fixture
def whole(tmp_path):
    return RECORD.format(d=tmp_path)


def repaired(record, copy, bounds):
    output: list[str] = []
    installed_cfg.repair(record, copy, bounds, output.append)
    return output


def test_complete_record_is_left_alone(whole, bounds, tmp_path):
    record = tmp_path / ".installed.cfg"
    record.write_text(whole)

    assert repaired(record, tmp_path / "copy", bounds) == []
    assert record.read_text() == whole


def test_absent_record_is_no_problem(bounds, tmp_path):
    assert repaired(tmp_path / ".installed.cfg", tmp_path / "copy", bounds) == []


@pytest.mark.system  # thousands of cuts take seconds
@pytest.mark.parametrize("has_copy", [True, False])
def test_record_cut_at_any_byte_lets_nothing_else_be_deleted(whole, bounds, tmp_path, has_copy):
    record, copy = tmp_path / ".installed.cfg", tmp_path / "copy"
    if has_copy:
        copy.write_text(whole)
    meant = set(installed_cfg.names(installed_cfg.parsed(whole)))

    for length in range(len(whole)):
        record.write_bytes(whole.encode()[:length])
        output = repaired(record, copy, bounds)
        kept = record.read_text() if record.exists() else "[buildout]\nparts =\n"

        assert set(installed_cfg.names(installed_cfg.parsed(kept))) <= meant, length
        installed_cfg.check(kept, bounds)
        assert len(output) == 0 or kept in (whole, "[buildout]\nparts =\n")


def test_repair_is_reported_in_one_line(whole, bounds, tmp_path):
    record, copy = tmp_path / ".installed.cfg", tmp_path / "copy"
    record.write_text(whole[:-5])

    assert repaired(record, copy, bounds) == [
        f"{record} is damaged (it ends within a line); all parts are installed again."
    ]

    copy.write_text(whole)
    record.write_text(whole.partition("[release]")[0])

    assert repaired(record, copy, bounds) == [
        f"{record} was damaged (expected __buildout_installed__ in [release], got none); "
        "its copy from the last complete run is used."
    ]


def test_damaged_copy_is_not_used(whole, bounds, tmp_path):
    record, copy = tmp_path / ".installed.cfg", tmp_path / "copy"
    record.write_bytes(b"\xff\n")
    copy.write_text(whole.replace("/parts/app", ""))

    assert len(repaired(record, copy, bounds)) == 1
    assert not record.exists()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it ends within a line"),
        ("[buildout]\n\0\0\0\n", r"it has the character '\x00'"),
        ("parts = a\n", "File contains no section headers."),
        ("[buildout]\nparts\n", "File contains parsing errors: the record"),
        ("[buildout]\n", "expected a list of parts, got none"),
        ("[site: 1/0]\nparts =\n", "ZeroDivisionError: division by zero"),
        ("[buildout]\nparts = a\n", "expected __buildout_installed__ in [a], got none"),
        (
            "[buildout]\nparts =\ninstalled_develop_eggs = /\n",
            "expected what a part made, got '/'",
        ),
    ],
)
def test_damage_is_named(bounds, text, problem):
    with pytest.raises(RecordDamagedError) as caught:
        installed_cfg.check(text, bounds)

    assert str(caught.value) == problem


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("parts/app", True),
        ("parts/app/deep/file", True),
        ("bin/paster", True),
        ("develop-eggs/shop.egg-link", True),
        ("parts", False),
        ("bin/", False),
        (".", False),
        ("/", False),
        ("", False),
        ("parts/../releases", False),
        ("parts/../../elsewhere", False),
        ("partsandmore/app", False),
        ("var/data", False),
        ("releases/1", False),
        ("/etc/passwd", False),
    ],
)
def test_only_the_sandbox_s_own_folders_are_buildout_s_to_delete_in(bounds, name, allowed):
    assert bounds.allow(name) is allowed


def test_link_out_of_a_folder_leads_nowhere(bounds, tmp_path):
    (tmp_path / "parts" / "out").symlink_to("/etc")

    assert not bounds.allow("parts/out/passwd")
    assert bounds.allow("parts/out")


def test_folders_behind_a_link_are_the_sandbox_s_own(tmp_path):
    (tmp_path / "real" / "parts").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    bounds = Bounds(tmp_path / "link", (tmp_path / "link" / "parts",))

    assert bounds.allow("parts/app")
    assert not bounds.allow("parts")


def test_update_changes_the_options_that_it_names(whole):
    text = installed_cfg.updated(whole, {"parts": "site app"})

    sections = installed_cfg.parsed(text)
    assert sections["buildout"]["parts"] == "site app"
    assert (
        sections["buildout"]["installed_develop_eggs"]
        == installed_cfg.parsed(whole)["buildout"]["installed_develop_eggs"]
    )
    assert {k: v for k, v in sections.items() if k != "buildout"} == {
        k: v for k, v in installed_cfg.parsed(whole).items() if k != "buildout"
    }


def test_record_does_not_grow_with_updates(whole):
    text = installed_cfg.updated(whole, {"parts": "app release site"})
    text = installed_cfg.updated(text, {"installed_develop_eggs": "a\nb"})
    text = installed_cfg.updated(text, {"parts": "site"})

    assert text.count("[buildout]") == 2
    assert installed_cfg.parsed(text)["buildout"] == {
        "parts": "site",
        "installed_develop_eggs": "a\nb",
    }


def test_update_that_changes_nothing_leaves_the_record_as_it_was(whole):
    changed = installed_cfg.updated(whole, {"parts": "site"})

    assert installed_cfg.updated(changed, {"parts": "site app release"}) == whole


def test_record_is_replaced_whole(tmp_path):
    path = tmp_path / "deep" / "record"

    installed_cfg.write(path, "one")
    first = path.stat()
    installed_cfg.write(path, "one")
    again = path.stat()
    assert (again.st_ino, again.st_ctime_ns) == (first.st_ino, first.st_ctime_ns)

    installed_cfg.write(path, "two")
    assert path.read_text() == "two"
    assert os.listdir(path.parent) == ["record"]


def test_record_that_cannot_be_written_stays_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "record"
    path.write_text("one")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fchmod", full)

    with pytest.raises(OSError, match="No space") as caught:
        installed_cfg.write(path, "two")
    assert caught.value.filename == str(path)
    assert path.read_text() == "one"
    assert os.listdir(tmp_path) == ["record"]


# What parts of other recipes made, outside of buildout's own folders.


@pytest.fixture
def record(bounds, tmp_path, whole):
    base = {f"{kind}-directory": str(tmp_path / kind) for kind in ("parts", "bin", "develop-eggs")}
    base |= {"directory": str(tmp_path), "installed": ".installed.cfg"}
    made = installed_cfg.Record(base, pytest.fail)
    places = [tmp_path / "note.txt", tmp_path / "etc", tmp_path / "var/n", "/etc/passwd"]
    named = "".join(f"\t{place}\n" for place in places)
    (tmp_path / ".installed.cfg").write_text(
        whole.replace("/bin/paster\n", f"/bin/paster\n{named}")
    )
    for folder in ("etc", "var"):
        (tmp_path / folder).mkdir()
    for name in ("note.txt", "var/n", "other.txt"):
        (tmp_path / name).touch()
    return made


def test_a_record_may_name_what_other_recipes_made_elsewhere(record, tmp_path):
    before = record.path.read_text()

    record.repair()

    assert record.path.read_text() == before


@pytest.mark.parametrize(
    ("name", "is_made"),
    [("note.txt", True), ("other.txt", False), ("etc", False), ("var/n", False)],
)
def test_files_that_a_complete_run_made_in_the_project_may_be_deleted(
    record, tmp_path, name, is_made
):
    assert not record.is_made_by_part(str(tmp_path / name))  # no run was complete yet

    record.keep_copy()

    assert record.is_made_by_part(str(tmp_path / name)) is is_made


def test_files_outside_the_project_are_never_deleted(record):
    record.keep_copy()

    assert not record.is_made_by_part("/etc/passwd")
