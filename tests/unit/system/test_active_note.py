import json
import os

import pytest
from pylonyard.activation import journal as journals
from pylonyard.activation.journal import Journal
from pylonyard.activation.steps import Effects
from pylonyard.system import active_note as notes
from pylonyard.system.active_note import LONGEST, Activated, Note, NotedSite
from pylonyard.system.errors import ActivationError
from pylonyard.system.rootfs import Tree

SHOP = NotedSite("production", "proxy", "shop")


@pytest.fixture
def sandbox(tmp_path):
    folder = tmp_path / "sandbox"
    folder.mkdir()
    return folder


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path / "root")


@pytest.fixture(autouse=True)
def root(tree):
    tree.root.mkdir()


def noted(number=3, since="2026-01-01T00:00:00Z", sites=(("shop", SHOP),), **more):
    return Note(
        sandbox="/srv/shop",
        release=number,
        since=since,
        configuration="production.cfg",
        sites=dict(sites),
        **more,
    )


def place(tree, sandbox):
    return tree.path(f"{notes.folder_of(sandbox)}/{notes.NAME}")


def active(**more):
    return Journal("/srv/shop", 3, ours=Effects(started=("shop",)), note=noted(), **more)


def test_nothing_was_ever_activated(tree, sandbox):
    assert notes.read(tree, sandbox) is None


def test_active_release_can_be_read_by_everybody(tree, sandbox):
    journals.save(tree, sandbox, active())

    assert notes.read(tree, sandbox) == noted()
    assert place(tree, sandbox).stat().st_mode & 0o7777 == 0o644
    assert place(tree, sandbox).parent.stat().st_mode & 0o7777 == 0o755
    assert json.loads(place(tree, sandbox).read_text())["version"] == 1


def test_note_goes_with_its_journal(tree, sandbox):
    journals.save(tree, sandbox, active())

    journals.save(tree, sandbox, Journal("/srv/shop"))

    assert notes.read(tree, sandbox) is None
    assert not place(tree, sandbox).parent.exists()


def test_journal_keeps_the_note(tree, sandbox):
    journals.save(tree, sandbox, active())

    assert journals.load(tree, sandbox) == active()


@pytest.mark.parametrize("cut", [{"pending": {}}, {"reloaded": {"apache": "start"}}])
def test_activation_at_work_is_reported(tree, sandbox, cut):
    journals.save(tree, sandbox, active(**cut))

    found = notes.read(tree, sandbox)

    assert (found.release, found.is_unfinished) == (3, True)


def test_first_activation_at_work_is_reported(tree, sandbox):
    journals.save(tree, sandbox, Journal("/srv/shop", pending={}))

    assert notes.read(tree, sandbox) == Note(sandbox="/srv/shop", is_unfinished=True)


def test_release_of_an_older_pylonyard_reports_nothing(tree, sandbox):
    journals.save(tree, sandbox, active())
    old = Journal("/srv/shop", 3).to_json()
    del old["note"]
    tree.path(journals.name_of(sandbox)).write_text(json.dumps(old))

    journals.repair_note(tree, sandbox, journals.load(tree, sandbox))

    assert notes.read(tree, sandbox) is None


def test_note_that_is_behind_follows(tree, sandbox):
    journals.save(tree, sandbox, active())
    place(tree, sandbox).write_text("{}")

    journals.repair_note(tree, sandbox, active())

    assert notes.read(tree, sandbox) == noted()


def test_note_without_a_journal_goes(tree, sandbox):
    journals.save(tree, sandbox, active())
    tree.path(journals.name_of(sandbox)).unlink()

    journals.repair_note(tree, sandbox, journals.load(tree, sandbox))

    assert not place(tree, sandbox).parent.exists()


def test_history_has_what_was_active_in_its_order():
    first = Note(sandbox="/srv/shop").then(noted(3, "t1"))
    development = {"shop": NotedSite("development", "proxy", "me")}

    found = first.then(noted(3, "t2")).then(noted(5, "t3", development.items()))

    assert found.history == (
        Activated(3, "t1", {"shop": "production"}),
        Activated(5, "t3", {"shop": "development"}),
    )
    assert (found.release, found.sites) == (5, development)


def test_history_does_not_grow_for_ever():
    found = Note(sandbox="/srv/shop")
    for number in range(LONGEST + 5):
        found = found.then(noted(number))

    assert [each.release for each in found.history] == list(range(5, LONGEST + 5))


def damaged(tree, sandbox, text):
    journals.save(tree, sandbox, active())
    place(tree, sandbox).write_text(text)
    with pytest.raises(ActivationError) as caught:
        notes.read(tree, sandbox)
    return str(caught.value)


WRITES = "bin/pylonyard activate, as root, writes it again"


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", "3", '{"version": "x"}', '{"version": 1}', "[" * 9000, '"\\ud800"'],
)
def test_damaged_note_is_reported(tree, sandbox, text):
    assert damaged(tree, sandbox, text) == (
        f"{place(tree, sandbox)}: expected a note of what is active, version 1, "
        f"got damaged text; {WRITES}"
    )


@pytest.mark.parametrize("key", sorted(noted().to_json()))
@pytest.mark.parametrize("value", [None, 7, "x", [7], {"x": 7}])
def test_odd_value_is_one_error_or_a_note(tree, sandbox, key, value):
    journals.save(tree, sandbox, active())
    said = {**noted().to_json(), key: value}
    place(tree, sandbox).write_text(json.dumps(said))

    try:
        found = notes.read(tree, sandbox)
    except ActivationError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(found, Note)


def test_note_of_a_newer_version_is_reported(tree, sandbox):
    output = damaged(tree, sandbox, json.dumps({**noted().to_json(), "version": 2}))

    assert output == (
        f"{place(tree, sandbox)}: expected a note of what is active, version 1, "
        f"got version 2, of a newer Pylonyard; {WRITES}"
    )


def test_journal_of_a_newer_version_is_read_without_its_note(tree, sandbox):
    journals.save(tree, sandbox, active())
    values = active().to_json()
    values["note"]["version"] = 2
    tree.path(journals.name_of(sandbox)).write_text(json.dumps(values))

    assert journals.load(tree, sandbox).note is None


def distrusted(tree, sandbox):
    with pytest.raises(ActivationError) as caught:
        notes.read(tree, sandbox)
    return str(caught.value)


def test_note_that_others_may_write_is_not_believed(tree, sandbox):
    journals.save(tree, sandbox, active())
    place(tree, sandbox).chmod(0o664)

    assert distrusted(tree, sandbox) == (
        f"{place(tree, sandbox)}: expected a file of root's that nobody else may write, "
        "got mode 0664; see who made it, move it elsewhere, and run bin/pylonyard activate as root"
    )


def test_link_in_place_of_a_note_is_not_followed(tree, sandbox):
    journals.save(tree, sandbox, active())
    there = place(tree, sandbox)
    there.rename(there.with_name("other"))
    there.symlink_to("other")

    assert "got a link" in distrusted(tree, sandbox)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_note_of_another_account_is_not_believed(tree, sandbox):
    journals.save(tree, sandbox, active())
    os.chown(place(tree, sandbox), 65534, -1)

    assert "got one of the account of number 65534" in distrusted(tree, sandbox)


def test_active_release_and_rollback_target_are_needed():
    staged = {"shop": NotedSite("staging", "proxy", "shop")}
    found = Note(sandbox="/srv/shop")
    assert found.needed == set()
    for number, sites in ((1, {"shop": SHOP}), (2, {"shop": SHOP}), (3, staged), (7, None)):
        found = found.then(noted(number, sites=(sites or {"shop": SHOP}).items()))

    assert found.needed == {7, 2}


def test_what_a_rollback_left_behind_is_not_needed():
    found = Note(sandbox="/srv/shop")
    for number in (1, 2, 3, 2, 4):
        found = found.then(noted(number))

    assert found.needed == {4, 2}
