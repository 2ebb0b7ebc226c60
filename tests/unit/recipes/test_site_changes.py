import json

import pytest
from pylonyard.recipes import site_changes
from pylonyard.recipes.site_changes import DeployedSites, changes
from pylonyard.releases.store import Releases
from pylonyard.system import accounts, active_note
from pylonyard.system.active_note import Note, NotedSite
from pylonyard.system.errors import ActivationError

LIVE = NotedSite("production", "mod_wsgi", "shop")
MODE = NotedSite("production", "proxy", "shop")
TRIED = NotedSite("development", "proxy", "jim")


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"shop": LIVE}, []),
        ({"shop": LIVE, "blog": TRIED}, []),
        ({"shop": TRIED}, [("shop", "make it development, proxy, account jim")]),
        ({"shop": MODE}, [("shop", "make it production, proxy, account shop")]),
        ({"hello": TRIED}, [("shop", "leave it out")]),
        # What an older Pylonyard did not tell is no difference.
        ({"shop": NotedSite("", "mod_wsgi", "shop")}, []),
    ],
)
def test_environment_mode_and_account_count(wanted, found):
    assert list(changes(DeployedSites(1, "production.cfg", {"shop": LIVE}), wanted)) == found


def test_site_may_go_if_others_stay():
    deployed = DeployedSites(1, "", {"shop": LIVE, "blog": LIVE})

    assert list(changes(deployed, {"shop": LIVE})) == []


@pytest.fixture
def releases(tmp_path):
    """A sandbox whose current release, 2, is one of development, and is not served."""
    folder = tmp_path / "releases" / "2"
    (folder / "shop").mkdir(parents=True)
    (folder / "bin").mkdir()
    manifest = {
        "configuration": "buildout.cfg",
        "environments": {"shop": "development"},
        "files": {},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    server = {"name": "shop", "user": "jim", "data": "/d", "log": "/l/shop.log", "port": 8080}
    (folder / "shop" / "server.json").write_text(json.dumps(server))
    (folder / "shop" / "site.json").write_text('{"mode": "proxy"}')
    (tmp_path / "current").symlink_to("releases/2")
    return Releases(tmp_path / "releases", tmp_path / "current")


def noted(monkeypatch, **values):
    note = Note(sandbox="/s", sites={"shop": LIVE}, **values) if values else None
    monkeypatch.setattr(active_note, "read", lambda *_: note)
    monkeypatch.setattr(site_changes, "_active_unnoted", lambda *_: None)


def refusal(releases, wanted, words=""):
    places = (releases, releases.folder.parent / "bin")
    with pytest.raises(ActivationError) as caught:
        site_changes.expect_no_change(*places, {"shop": wanted}, words.split(), "release")
    return str(caught.value)


def test_change_of_what_is_active_is_refused(releases, monkeypatch):
    noted(monkeypatch, release=1, configuration="production.cfg")

    assert refusal(releases, TRIED, "-c buildout.cfg") == (
        "shop is active as production, mod_wsgi, account shop (release 1 of production.cfg), and "
        "this run would make it development, proxy, account jim; go on with bin/buildout -c "
        "production.cfg, or, if it is meant, first: " + accounts.as_root("bin/pylonyard deactivate")
    )


def test_other_configuration_of_the_same_account_has_two_ways(releases, monkeypatch):
    noted(monkeypatch, release=1, configuration="production.cfg")

    assert refusal(releases, MODE, "-c staging.cfg").endswith(
        "; go on with bin/buildout -c production.cfg, or, if it is meant: bin/buildout -c "
        "staging.cfg release:change=allow"
    )


def test_what_was_typed_is_repeated_without_secrets():
    words = ["-v", "-c", "production.cfg", "site:mode=proxy", "ini:title=Bits & Bobs"]
    words += ["release:change=refuse", "ini:api-token=s3cret", "ini:db=pg://shop:s3cret@db/shop"]

    assert site_changes.allowing_command(words, "release") == (
        "bin/buildout -c production.cfg site:mode=proxy 'ini:title=Bits & Bobs' "
        "ini:api-token=... ini:db=pg://...@db/shop release:change=allow"
    )


def test_account_of_what_is_active_stays_be_another_meant(releases, monkeypatch):
    noted(monkeypatch, release=1)
    site_changes.expect_account_kept(releases, {"shop": MODE, "blog": TRIED})
    other = NotedSite("production", "mod_wsgi", "other")

    with pytest.raises(ActivationError) as caught:
        site_changes.expect_account_kept(releases, {"shop": other})

    assert str(caught.value) == (
        "shop is active as production, mod_wsgi, account shop (release 1), and this run would make "
        "it production, mod_wsgi, account other; if it is meant, first: "
        + accounts.as_root("bin/pylonyard deactivate")
    )


def test_edit_of_the_same_configuration_has_one_way(releases, monkeypatch):
    noted(monkeypatch, release=1, configuration="production.cfg")

    assert refusal(releases, MODE, "-c production.cfg").endswith(
        "; if it is meant: bin/buildout -c production.cfg release:change=allow"
    )


def test_nothing_changes_while_an_activation_is_at_work(releases, monkeypatch):
    noted(monkeypatch, release=1, is_unfinished=True)

    assert refusal(releases, LIVE) == (
        "an activation is running or was interrupted; first: "
        + accounts.as_root("bin/pylonyard activate")
    )


def test_change_of_what_runs_is_refused(releases, monkeypatch):
    noted(monkeypatch)
    monkeypatch.setattr(site_changes, "running", lambda *_: {"shop", "shop-httpd"})

    assert refusal(releases, LIVE) == (
        "shop runs as development, proxy, account jim (release 2 of buildout.cfg), and this run "
        "would make it production, mod_wsgi, account shop; stop it first: bin/shop stop && "
        "bin/shop-httpd stop"
    )


def test_change_of_a_site_that_neither_runs_nor_is_active_is_reported(releases, monkeypatch):
    noted(monkeypatch)
    monkeypatch.setattr(site_changes, "running", lambda *_: set())
    places = (releases, releases.folder.parent / "bin")

    assert site_changes.expect_no_change(*places, {"shop": LIVE}, [], "release") == [
        "shop is production, mod_wsgi, account shop in this release; it was development, proxy, "
        "account jim"
    ]
    assert site_changes.expect_no_change(*places, {"blog": TRIED}, [], "release") == [
        "shop (development, proxy, account jim) is not in this release any more; its data and "
        "secrets stay in var/data/shop and var/secrets/shop"
    ]
    assert site_changes.expect_no_change(*places, {"shop": TRIED}, [], "release") == []
