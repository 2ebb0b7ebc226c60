import pytest
from pylonyard.activation.conffiles import Decision, decide, is_kept, kept_as
from pylonyard.activation.entries import ABSENT, Change, Entry, difference, merged


def file(text, mode=0o644):
    return Entry("file", mode, 0, 0, text.encode())


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
    there = {"/a.pylonyard-old": OLD, "/a.pylonyard-old.1": THEIRS}

    def read(name):
        return there.get(name, ABSENT)

    assert kept_as("/b", NEW, read) == "/b.pylonyard-old"
    assert kept_as("/a", OLD, read) == "/a.pylonyard-old"
    assert kept_as("/a", THEIRS, read) == "/a.pylonyard-old.1"
    assert kept_as("/a", NEW, read) == "/a.pylonyard-old.2"
    assert is_kept("/a.pylonyard-old.2")
    assert not is_kept("/a.pylonyard-older")


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
