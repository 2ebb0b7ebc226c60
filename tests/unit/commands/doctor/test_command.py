"""The doctor's report of a release, and of a journal, that cannot be read."""

import json
import os
import shutil

import pytest
from pylonyard.activation import journal as journals
from pylonyard.activation.activate import Activation
from pylonyard.buildout import last_run
from pylonyard.commands.doctor import command, machine
from pylonyard.releases.store import Releases
from pylonyard.system.rootfs import Tree

from tests.unit.commands.doctor.test_command_checks import place, server_json
from tests.unit.commands.doctor.test_permissions import put

__all__ = ["place"]  # a fixture


@pytest.fixture
def examined(place, monkeypatch):
    """Return a function that tells what is found of a site, as far as its files in /etc go."""
    monkeypatch.setattr(command, "checks", lambda _: {"active-files": machine.active})
    (place / "current/shop/server.json").write_text(json.dumps(server_json(place)))
    releases = Releases(place / "releases", place / "current")

    def examine():
        found = command.all_findings(releases, Activation(place, releases, Tree(place)))
        return [(each.check, each.ok, each.text, each.advice) for each in found]

    return examine


def test_machine_without_a_journal_has_nothing_active(examined):
    assert examined() == [("active-files", None, "no release was activated", "")]


@pytest.mark.parametrize("text", ["[]", "null", "{", "{}", ""])
def test_damaged_journal_is_red(place, examined, text):
    name = journals.name_of(place)
    put(place, name, text)

    assert examined() == [
        (
            "active-files",
            False,
            f"{place}{name}: expected a journal of activations, got damaged text",
            "move it away, and activate again",
        )
    ]


def test_first_run_that_failed_is_reported_until_one_goes_well(place, examined):
    shutil.rmtree(place / "releases")
    (place / "current").unlink()
    assert examined() == [("release", False, "there is none yet", "bin/buildout")]

    last_run.note(place, "[app] eggs: cannot get Nosuch")

    assert examined() == [
        (
            "release",
            False,
            "there is none: bin/buildout failed: [app] eggs: cannot get Nosuch",
            "correct that, then: bin/buildout",
        )
    ]
    last_run.forget(place)
    assert examined() == [("release", False, "there is none yet", "bin/buildout")]


def test_run_that_failed_beside_a_release_is_reported_and_not_red(place, examined):
    last_run.note(place, "[app] eggs: cannot get Nosuch")

    check, ok, text, advice = examined()[0]

    assert (check, ok, advice) == ("last-run", None, "correct that, then: bin/buildout")
    assert text.endswith(", and changed nothing: [app] eggs: cannot get Nosuch")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 2, "text": "x", "when": "y"}'])
def test_note_of_a_failure_that_cannot_be_read_is_none(place, text):
    last_run.note(place, "x")
    (place / last_run.PLACE).write_text(text)

    assert last_run.failure(place) is None


def test_journal_with_texts_for_lists_is_red(place, examined):
    name = journals.name_of(place)
    values = {**journals.Journal("shop").to_json(), "ours": "", "pending": ""}
    put(place, name, json.dumps(values))

    ((check, ok, text, advice),) = examined()

    assert (check, ok, advice) == ("active-files", False, "move it away, and activate again")
    assert text.startswith(f"{place}{name}: expected a journal of activations, got ")


def test_journal_that_is_a_pipe_is_red(place, examined):
    name = journals.name_of(place)
    put(place, name)
    (place / name[1:]).unlink()
    os.mkfifo(place / name[1:])

    assert examined() == [
        (
            "active-files",
            False,
            f"{place}{name}: expected a regular file",
            "see what it is, and move it elsewhere",
        )
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="lacks root, who may be another account")
def test_journal_that_we_may_not_read_is_not_red(place, examined):
    put(place, journals.name_of(place), "{", mode=0o600)

    os.seteuid(65534)
    try:
        found = examined()
    finally:
        os.seteuid(0)

    assert found == [("active-files", None, "run the doctor as root to check this", "")]


@pytest.mark.parametrize("name", ["server.json", "site.json"])
def test_description_that_is_a_pipe_is_red(place, examined, name):
    pipe = place / "current/shop" / name
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe)

    assert examined() == [
        (
            "release",
            False,
            f"{place}/releases/1/shop/{name} is not a regular file, as it has to be: "
            "see what it is, and move it elsewhere",
            "bin/pylonyard rollback",
        )
    ]
