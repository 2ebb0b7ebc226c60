import json
import shutil

import pytest
from pylonyard.activation import journal as journals
from pylonyard.activation.activate import Activation
from pylonyard.activation.journal import Journal
from pylonyard.commands import rollback
from pylonyard.commands.rollback import SandboxIdentity
from pylonyard.releases.store import NoReleaseError, Releases
from pylonyard.system import accounts
from pylonyard.system.active_note import Note, NotedSite
from pylonyard.system.errors import ActivationError
from pylonyard.system.rootfs import Tree

PRODUCTION = NotedSite("production", "mod_wsgi", "shop")
PROXIED = NotedSite("production", "proxy", "shop")
STAGING = NotedSite("staging", "mod_wsgi", "shop")
DEVELOPMENT = NotedSite("development", "proxy", "me")
UNKNOWN = NotedSite("", "mod_wsgi", "shop")


@pytest.fixture
def sandbox(tmp_path):
    """Give a function that makes a sandbox with releases, some of which were active."""

    def make(*made, active=(), whole=True):
        folder, tree = tmp_path / "sandbox", Tree(tmp_path / "root")
        tree.root.mkdir()
        releases = Releases(folder / "releases", folder / "current")
        for site in made:
            publish(releases, site)
        note = Note(sandbox=str(folder), is_whole=whole)
        for number in active:
            sites = {"shop": made[number - 1]}
            note = note.then(Note(sandbox=str(folder), release=number, sites=sites))
        if active:
            journals.save(tree, folder, Journal(str(folder), active[-1], note=note))
        return Activation(folder, releases, tree)

    return make


def publish(releases, site):
    with releases.draft() as folder:
        (folder / "shop").mkdir()
        server = {"data": "/d", "log": "/l/shop.log", "port": 8080, "user": site.account}
        (folder / "shop" / "server.json").write_text(json.dumps(server))
        (folder / "shop" / "site.json").write_text(json.dumps({"mode": site.mode}))
        output = {"environments": {"shop": site.environment}} if site.environment else {}
        (folder / "manifest.json").write_text(json.dumps({"files": {}, **output}))
        releases.publish(folder)


def earlier(activation):
    return rollback.default_target(activation, SandboxIdentity.of(activation))


def none_earlier(activation):
    with pytest.raises(NoReleaseError) as caught:
        earlier(activation)
    return str(caught.value)


def refused(activation, number):
    with pytest.raises(ActivationError) as caught:
        rollback.check_same_identity(activation, SandboxIdentity.of(activation), number)
    return str(caught.value)


def test_slip_into_development_is_left_for_what_is_active(sandbox):
    place = sandbox(DEVELOPMENT, PRODUCTION, DEVELOPMENT, DEVELOPMENT, active=[2])

    assert earlier(place) == 2


def test_release_that_was_never_active_is_skipped(sandbox):
    place = sandbox(PRODUCTION, PRODUCTION, PRODUCTION, active=[1, 3])

    assert earlier(place) == 1


def test_release_that_was_active_in_another_environment_is_skipped(sandbox):
    place = sandbox(PRODUCTION, STAGING, PRODUCTION, active=[1, 2, 3])

    assert earlier(place) == 1


def test_mode_in_which_it_was_active_is_returned_to(sandbox):
    place = sandbox(PROXIED, PRODUCTION, active=[1, 2])

    assert earlier(place) == 1


def test_twice_goes_back_by_two(sandbox):
    place = sandbox(*[PRODUCTION] * 3, active=[1, 2, 3, 2])
    place.releases.make_current(2)

    assert earlier(place) == 1


@pytest.mark.parametrize(
    ("active", "found"),
    [([1, 2, 3, 2, 4], 2), ([1, 2, 3, 1, 4], 1), ([1, 2, 3, 2, 3, 4], 3), ([2, 3, 1, 4], 1)],
)
def test_release_that_a_rollback_left_behind_is_passed_over(sandbox, active, found):
    assert earlier(sandbox(*[PRODUCTION] * 4, active=active)) == found


def test_release_that_was_removed_since_is_passed_over(sandbox):
    place = sandbox(*[PRODUCTION] * 8, active=[1, 2, 8])
    place.releases.prune(5)

    assert none_earlier(place) == (
        "no earlier release was active for production since the first activation; to go to one "
        "that was not: bin/pylonyard rollback 7"
    )


def test_first_that_is_active_has_none_before(sandbox):
    place = sandbox(PRODUCTION, PRODUCTION, active=[2])

    assert none_earlier(place) == (
        "no earlier release was active for production since the first activation; to go to one "
        "that was not: bin/pylonyard rollback 1"
    )


def test_only_those_of_other_environments_are_before(sandbox):
    place = sandbox(DEVELOPMENT, DEVELOPMENT, PRODUCTION, active=[3])

    assert none_earlier(place) == "there is no earlier release for production to return to"


def test_nothing_is_before_the_first(sandbox):
    assert none_earlier(sandbox(PRODUCTION)) == "there is no earlier release to return to"


@pytest.mark.parametrize(("made", "found"), [([PRODUCTION, DEVELOPMENT, PRODUCTION], 1)])
def test_without_activation_the_last_of_the_environment_is_taken(sandbox, made, found):
    assert earlier(sandbox(*made)) == found


def test_release_of_an_older_pylonyard_counts_as_alike(sandbox):
    assert earlier(sandbox(UNKNOWN, PRODUCTION)) == 1


def test_activations_of_an_older_pylonyard_are_not_known(sandbox):
    assert earlier(sandbox(PRODUCTION, PRODUCTION, active=[2], whole=False)) == 1


def test_number_over_a_change_is_refused_and_names_both(sandbox):
    place = sandbox(DEVELOPMENT, PRODUCTION, active=[2])

    assert refused(place, 1) == (
        "shop is production, mod_wsgi, account shop (release 2), and release 1 has it as "
        "development, proxy, account me; to change that on purpose, first: "
        + accounts.as_root("bin/pylonyard deactivate")
    )


def test_account_of_what_is_active_stays_be_another_meant(sandbox):
    place = sandbox(DEVELOPMENT, STAGING, PRODUCTION, active=[3])
    rollback.check_same_identity(place, SandboxIdentity.of(place), 2, may_change=True)

    with pytest.raises(ActivationError, match=r"first: .*bin/pylonyard deactivate"):
        rollback.check_same_identity(place, SandboxIdentity.of(place), 1, may_change=True)


@pytest.mark.parametrize(
    "other",
    [PROXIED, STAGING, NotedSite("production", "mod_wsgi", "www-data")],
)
def test_each_of_the_three_is_a_change(sandbox, other):
    assert "to change that on purpose" in refused(sandbox(other, PRODUCTION, active=[2]), 1)


def test_active_release_counts_not_the_current_one(sandbox):
    place = sandbox(PRODUCTION, DEVELOPMENT, active=[1])

    rollback.check_same_identity(place, SandboxIdentity.of(place), 1)


def test_nothing_is_active_so_the_current_one_counts(sandbox):
    place = sandbox(DEVELOPMENT, PRODUCTION)

    assert "shop is production" in refused(place, 1)


@pytest.mark.parametrize("other", [PRODUCTION, UNKNOWN])
def test_number_without_a_change_is_let_through(sandbox, other):
    place = sandbox(other, PRODUCTION, active=[2])

    rollback.check_same_identity(place, SandboxIdentity.of(place), 1)


def test_release_that_was_removed_by_hand_is_gone_back_from(sandbox):
    place = sandbox(PRODUCTION, PRODUCTION, active=[1, 2])
    shutil.rmtree(place.releases.path(2))

    assert earlier(place) == 1
