import shutil
import subprocess

import pytest
from pylonyard.activation.host import conffiles
from pylonyard.activation.host.conffiles import Decision, decide, is_kept, kept_as
from pylonyard.system.rootfs import ABSENT, Change, Entry, difference, merged


def file(text, mode=0o644):
    return Entry("file", mode, 0, 0, text.encode())


LOGROTATE = shutil.which("logrotate", path="/usr/sbin")

OLD, NEW, THEIRS = file("old"), file("new"), file("theirs")


@pytest.mark.parametrize(
    ("now", "laid", "wanted", "decision"),
    [
        (ABSENT, None, NEW, Decision.INSTALL),
        (NEW, None, NEW, Decision.SAME),
        (NEW, NEW, NEW, Decision.SAME),
        (OLD, OLD, NEW, Decision.INSTALL),
        (THEIRS, None, NEW, Decision.CONFLICT),
        (THEIRS, OLD, NEW, Decision.CONFLICT),
        (THEIRS, NEW, NEW, Decision.KEEP),
        (file("new", 0o600), NEW, NEW, Decision.INSTALL),
        (Entry("link", content=b"/elsewhere"), None, NEW, Decision.CONFLICT),
        (ABSENT, OLD, NEW, Decision.GONE),
    ],
)
def test_edited_files_are_left_and_others_follow_the_release(now, laid, wanted, decision):
    digest = laid.digest if laid else None

    assert decide(now, digest, wanted, may_be_gone=True) is decision


def test_removed_file_that_apache_needs_comes_back():
    assert decide(ABSENT, OLD.digest, NEW, may_be_gone=False) is Decision.INSTALL


def test_every_edit_is_kept_under_a_name_of_its_own():
    there = {"/a.pylonyard-old.disabled": OLD, "/a.pylonyard-old.1.disabled": THEIRS}

    def read(name):
        return there.get(name, ABSENT)

    assert kept_as("/b", NEW, read) == "/b.pylonyard-old.disabled"
    assert kept_as("/a", OLD, read) == "/a.pylonyard-old.disabled"
    assert kept_as("/a", THEIRS, read) == "/a.pylonyard-old.1.disabled"
    assert kept_as("/a", NEW, read) == "/a.pylonyard-old.2.disabled"
    assert is_kept("/a.pylonyard-old.2.disabled")
    assert not is_kept("/a.pylonyard-older")


@pytest.mark.system
@pytest.mark.skipif(not LOGROTATE, reason="lacks logrotate")
def test_logrotate_reads_none_of_what_stands_beside_its_files(tmp_path):
    folder, main = tmp_path / "logrotate.d", tmp_path / "logrotate.conf"
    folder.mkdir()
    main.write_text(f"include {folder}\n")
    kept = kept_as("shop", NEW, lambda name: OLD if "1" not in name else ABSENT)
    for name in ("shop", f"shop{conffiles.NEW}", f"shop{conffiles.OLD}", kept):
        (folder / name).write_text(f"{tmp_path}/shop.log {{\n    weekly\n}}\n")
    for each in (main, *folder.iterdir()):
        each.chmod(0o644)

    words = [LOGROTATE, "--debug", "--state", tmp_path / "state", main]
    said = subprocess.run(words, capture_output=True, text=True).stderr

    assert kept == "shop.pylonyard-old.1.disabled"
    assert [line for line in said.splitlines() if line.startswith("reading config file shop")] == [
        "reading config file shop"
    ]
    assert "duplicate" not in said


def test_changes_on_changes_remember_the_first_state():
    first = {"/a": Change(ABSENT, OLD), "/b": Change(OLD, NEW)}
    second = {"/a": Change(OLD, NEW), "/b": Change(NEW, OLD)}

    assert merged(first, second) == {"/a": Change(ABSENT, NEW)}


def test_difference_has_what_changed_alone():
    assert difference({"/a": OLD, "/b": OLD}, {"/b": OLD, "/c": NEW}) == {
        "/a": Change(OLD, ABSENT),
        "/c": Change(ABSENT, NEW),
    }


@pytest.mark.parametrize(
    "entry", [ABSENT, OLD, Entry("link", content=b"x"), Entry("folder", 0o755)]
)
def test_entries_survive_json(entry):
    assert Entry.from_json(entry.to_json()) == entry
