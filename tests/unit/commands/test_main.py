import argparse
import json
import sys

import pytest
from pylonyard.activation import journal as journals
from pylonyard.activation.activate import Activation
from pylonyard.activation.journal import Journal
from pylonyard.commands import main as admin
from pylonyard.commands.main import main
from pylonyard.commands.releases import list_releases
from pylonyard.releases.contents import Release
from pylonyard.releases.store import Releases
from pylonyard.system import accounts, command_line, locks
from pylonyard.system.active_note import Note, folder_of
from pylonyard.system.errors import ActivationError
from pylonyard.system.rootfs import ABSENT, Tree
from pylonyard.webservers.apache import control
from support import LOCKS, reset_buildout


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A sandbox with three releases, whose manifests tell when they were made."""
    releases = Releases(tmp_path / "releases", tmp_path / "current")
    for day in (1, 2, 3):
        with releases.draft() as folder:
            (folder / "bin").mkdir()
            (folder / "bin" / f"shop{day}").touch()
            made = f"2026-01-0{day}T00:00:00Z"
            output = {"configuration": "staging.cfg", "environments": {"shop": "staging"}}
            text = json.dumps({"made": made, "files": {}, **(output if day > 1 else {})})
            (folder / "manifest.json").write_text(text)
            releases.publish(folder)
    monkeypatch.setattr(locks, "Locks", lambda: LOCKS)  # several programs, in one process
    with reset_buildout():
        yield tmp_path


def run(place, *words):
    return main(str(place), str(place / "bin"), [*words, "--root", str(place)])


def current(place):
    return Releases(place / "releases", place / "current").current_number()


def test_releases_are_listed_with_the_current_one_marked(place, capsys):
    (place / "releases" / "1" / "manifest.json").write_text("{")

    assert run(place, "releases") == 0

    assert capsys.readouterr().out == (
        "     1  manifest damaged\n"
        "     2  2026-01-02T00:00:00Z  staging\n"
        "*    3  2026-01-03T00:00:00Z  staging      current\n"
    )


def test_releases_are_listed_for_machines(place, capsys):
    assert run(place, "releases", "--json") == 0

    output = json.loads(capsys.readouterr().out)
    assert (output["active"], output["note"]) == (None, "")
    assert [each["release"] for each in output["releases"]] == [1, 2, 3]
    assert output["releases"][0]["environments"] == {}
    assert output["releases"][2] == {
        "release": 3,
        "made": "2026-01-03T00:00:00Z",
        "configuration": "staging.cfg",
        "environments": {"shop": "staging"},
        "current": True,
        "active": False,
        "changes": {"added": [], "removed": [], "changed": []},
    }


class RootsTree(Tree):
    """A machine as another account than root sees it."""

    note = ABSENT

    def read(self, name):
        if name.endswith("/journal.json"):
            raise PermissionError(13, "Permission denied", "journal.json")
        if name.endswith("/note.json"):
            return self.note
        return super().read(name)


def last_line(activation, capsys):
    list_releases(activation)
    return capsys.readouterr().out.splitlines()[-1]


def test_active_release_is_reported_or_that_it_is_unknown(place, capsys):
    releases = Releases(place / "releases", place / "current")
    activation = Activation(place, releases, Tree(place))
    active = "*    3  2026-01-03T00:00:00Z  staging      current, active"
    noted = Note(sandbox=str(place), release=3)
    journals.save(activation.tree, place, Journal(str(place), 3, note=noted))
    assert last_line(activation, capsys) == active
    tree = RootsTree(place)
    object.__setattr__(tree, "note", Tree(place).read(f"{folder_of(place)}/note.json"))
    assert last_line(Activation(place, releases, tree), capsys) == active

    journals.save(activation.tree, place, Journal(str(place), 7))
    assert last_line(activation, capsys) == "release 7 is active, but its folder was removed"

    journal = activation.tree.path(journals.name_of(place))
    journal.write_text("{")
    assert last_line(activation, capsys) == (
        f"active: not known: {journal}: expected a journal of activations, got damaged text; "
        "move it away, and activate again"
    )

    unknown = Activation(place, releases, RootsTree(place))
    assert last_line(unknown, capsys) == "active: not known without root"


def test_dry_run_says_that_only_root_can_tell(place):
    class Readable(Activation):
        def release(self):
            return Release(3, place, (), ())

    releases = Releases(place / "releases", place / "current")
    activation = Readable(place, releases, RootsTree(place))

    with pytest.raises(ActivationError) as caught:
        activation.dry_run(print)

    assert str(caught.value) == (
        "only root may read what is active here: "
        + accounts.as_root(f"{sys.argv[0]} activate --dry-run")
    )


def test_rollback_returns_to_the_release_before(place, capsys):
    assert run(place, "rollback") == 0

    assert current(place) == 2
    assert capsys.readouterr().out.endswith("Release 2 is current.\n")
    assert [path.name for path in (place / "bin").iterdir()] == ["shop2"]


def test_rollback_goes_to_any_release(place):
    assert run(place, "rollback", "1") == 0
    assert current(place) == 1

    assert run(place, "rollback", "3") == 0
    assert current(place) == 3


def test_rollback_that_cannot_know_what_is_active_changes_nothing(place, capsys):
    journal = Tree(place).path(journals.name_of(place))
    journal.parent.mkdir(parents=True)
    journal.write_text("{")

    assert run(place, "rollback") == 1

    assert capsys.readouterr().err == (
        f"pylonyard: {journal}: expected a journal of activations, got damaged text; "
        "move it away, and activate again\n"
    )
    assert current(place) == 3


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["rollback", "9"], "pylonyard: there is no release 9 in {0}/releases\n"),
        (["rollback", "0"], "pylonyard: there is no release 0 in {0}/releases\n"),
    ],
)
def test_release_that_is_not_there_is_one_line(place, capsys, words, line):
    assert run(place, *words) == 1

    assert capsys.readouterr().err == line.format(place)
    assert current(place) == 3


def test_first_release_has_none_before(place, capsys):
    run(place, "rollback", "1")

    assert run(place, "rollback") == 1

    assert capsys.readouterr().err == "pylonyard: there is no earlier release to return to\n"
    assert current(place) == 1


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "expected ACTION; see pylonyard --help"),
        (["rolback"], "unknown action rolback; did you mean rollback? See pylonyard --help"),
        (["frobnicate"], "unknown action frobnicate; see pylonyard --help"),
        (["--versio"], "unknown option --versio; did you mean --version? See pylonyard --help"),
        (
            ["cache", "--claen"],
            "unknown option --claen; did you mean --clean? See pylonyard cache --help",
        ),
        (["rollback", "x"], "NUMBER: expected a number, got 'x'; see pylonyard rollback --help"),
        (["bundle"], "expected FILE; see pylonyard bundle --help"),
        (
            ["completion", "bsah"],
            "unknown shell bsah; did you mean bash? See pylonyard completion --help",
        ),
        (
            ["releases", "--json", "diff", "1", "2"],
            "releases diff: unknown option --json; see pylonyard --help",
        ),
        (
            ["releases", "difff"],
            "unknown action difff; did you mean diff? See pylonyard releases --help",
        ),
    ],
)
def test_other_words_are_named(place, capsys, words, line):
    with pytest.raises(SystemExit) as ended:
        admin.main(str(place), str(place / "bin"), words)

    assert ended.value.code == 2
    assert capsys.readouterr() == ("", f"pylonyard: {line}\n")


def test_help_has_a_line_for_each_action_and_each_option():
    def described(parser):
        assert parser.description and parser.description.strip()
        assert "``" not in parser.format_help()
        for spellings, text, _ in command_line.options(parser):
            assert text, spellings
        for action in parser._actions:
            assert action.help or isinstance(action, argparse._SubParsersAction), action
        for name, text, inner in command_line.actions(parser):
            assert text, name
            described(inner)

    for parser in (
        admin.parser(),
        command_line.bootstrap(),
        command_line.site("a"),
        control.parser("a"),
    ):
        described(parser)


def test_rollback_waits_for_no_run_at_work(place, capsys):
    (place / ".pylonyard.lock").mkdir()

    assert run(place, "rollback") == 1

    assert capsys.readouterr().err == (
        f"pylonyard: cannot lock {place}: {place}/.pylonyard.lock is not a regular file, as it has "
        "to be: see what it is, and move it elsewhere\n"
    )


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (KeyboardInterrupt(), 130, "pylonyard: interrupted\n"),
        (OSError(28, "No space left on device"), 1, "pylonyard: No space left on device\n"),
        (OSError(13, "Permission denied", "/x"), 1, "pylonyard: /x: Permission denied\n"),
    ],
)
def test_error_that_ends_an_action_is_one_line(place, capsys, monkeypatch, error, status, line):
    def ended(*_):
        raise error

    monkeypatch.setattr(admin, "run_action", ended)

    assert (run(place, "releases"), capsys.readouterr().err) == (status, line)
