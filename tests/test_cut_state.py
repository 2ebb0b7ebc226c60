"""Our own state, cut at every byte: repaired, left out, or one line."""

import json
import os

import pytest
from pylonyard.activation import journal as journals
from pylonyard.activation.steps import Effects
from pylonyard.buildout import driver, last_run
from pylonyard.config import inputs
from pylonyard.config.secret_store import Origin, SecretError, SecretStore
from pylonyard.environments import cache_usage
from pylonyard.environments.cache_usage import Stores
from pylonyard.packages import integrity
from pylonyard.releases import contents as sources
from pylonyard.releases import store
from pylonyard.releases.store import MANIFEST, Releases
from pylonyard.server import status
from pylonyard.server.settings import load
from pylonyard.system.errors import ActivationError, ServerError
from pylonyard.system.rootfs import ABSENT, Change, Entry, Tree
from support import LOCKS, Sandbox, in_this_process, make_store, reset_buildout
from zc.buildout import UserError

pytestmark = pytest.mark.system  # every byte of every file: seconds


def cuts(path):
    """Cut a file at every byte, one after the other; what is left of it is written back."""
    whole = path.read_bytes()
    assert len(whole) > 2
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        yield length
    path.write_bytes(whole)


def is_one_line(error):
    return str(error) and "\n" not in str(error)


def test_journal_of_activations(tmp_path):
    tree, file = Tree(tmp_path), Entry("file", 0o644, 0, 0, b"ours")
    effects = Effects({"/etc/x": Change(ABSENT, file)}, (("a", "b"),), {"/s": ("a", None, 1)})
    whole = journals.Journal("/srv", 3, "now", effects, {"/etc/x": "0"}, ("proxy",), effects)
    journals.save(tree, tmp_path, whole)
    path = tree.path(journals.name_of(tmp_path))

    for _ in cuts(path):
        try:
            assert journals.load(tree, tmp_path) == whole
        except ActivationError as error:
            assert is_one_line(error)
        # What another sandbox needs is not taken for nothing.
        try:
            (found,) = journals.others(tree, tmp_path / "other").values()
            assert found == whole
        except ActivationError as error:
            assert is_one_line(error)


@pytest.fixture
def release(tmp_path):
    """Return a release with a manifest."""
    folder = tmp_path / "releases" / "1"
    folder.mkdir(parents=True)
    (folder / "file").write_text("text")
    store.write_manifest(folder, {"file": "part"}, {"file": ["judge"]})
    return folder


def test_manifest(release, tmp_path):
    releases = Releases(tmp_path / "releases", tmp_path / "current")
    whole = releases.manifest(1)

    for length in cuts(release / MANIFEST):
        found = releases.manifest(1)
        assert found in ({}, whole)
        try:
            sources.read(release, 1)
            assert found == whole, length
        except ActivationError as error:
            assert is_one_line(error)


def test_cut_records_of_a_caches_users(tmp_path):
    sandbox, stores = tmp_path / "sandbox", Stores(tmp_path / "cache", tmp_path / "eggs")
    (sandbox / ".pylonyard").mkdir(parents=True)
    assert cache_usage.record_needs(sandbox, stores, {"shop": "1.0"})
    (record,) = (tmp_path / "cache" / cache_usage.USERS).iterdir()
    whole = cache_usage.users(stores.cache)
    default = Stores(sandbox / "cache", sandbox / "cache/eggs")

    for _ in cuts(record):
        # What is unknown keeps everybody's files from being removed.
        assert cache_usage.users(stores.cache) in (whole, ([], [record]))
    for _ in cuts(sandbox / ".pylonyard" / cache_usage.CACHE):
        assert cache_usage.stores_of(sandbox) in (stores, default)
    record.write_bytes(record.read_bytes()[:-9])
    assert cache_usage.record_needs(sandbox, stores, {"shop": "1.0"})
    assert cache_usage.users(stores.cache) == whole


def test_cut_records_of_verified_files(tmp_path):
    built = tmp_path / "built"
    built.write_text("module")
    integrity.Verified(tmp_path / "cache").note_built(built, "source")
    (path,) = (tmp_path / "cache" / "verified").iterdir()

    for _ in cuts(path):
        assert not integrity.Verified(tmp_path / "cache").is_built(built, "source")
    assert integrity.Verified(tmp_path / "cache").is_built(built, "source")


@pytest.mark.parametrize("kind", ["generate", "uuid"])
def test_secret(tmp_path, kind):
    store = SecretStore(tmp_path / "secrets", {"key": Origin(kind)})
    whole = store.value("key")

    for length in cuts(tmp_path / "secrets" / "key"):
        with pytest.raises(SecretError) as caught:
            store.value("key")
        assert is_one_line(caught.value) and f"got {length} characters" in str(caught.value)
        assert length < 4 or whole[:length] not in str(caught.value)
    assert store.value("key") == whole


@pytest.mark.parametrize("kept", ["my own", "0123456789abcdef" * 4, "words\n"])
def test_secret_of_a_persons_own_is_taken(tmp_path, kept):
    (tmp_path / "key").write_text(kept)

    assert SecretStore(tmp_path, {"key": Origin("generate")}).value("key") == kept.strip()


@pytest.mark.parametrize("wanted", [status.UP, status.DOWN])
def test_whether_a_site_is_wanted(tmp_path, wanted):
    path = tmp_path / "intent"
    status.write_intent(path, wanted)

    for length in cuts(path):
        assert status.is_wanted_up(path) == (wanted == status.UP and length == len(status.UP))


def test_server_json(tmp_path):
    path = tmp_path / "server.json"
    path.write_text(json.dumps({"name": "shop", "port": 80}))

    for _ in cuts(path):
        with pytest.raises(ServerError) as caught:
            load(path)
        assert is_one_line(caught.value)


def test_memory_of_the_last_run(tmp_path):
    path = tmp_path / inputs.MEMORY
    path.parent.mkdir()
    content = {"called": inputs.run_digest([], []), "variables": [], "paths": [], "trees": []}
    path.write_text(json.dumps({**content, "state": inputs.state_digest([], []), "told": ["x"]}))

    for _ in cuts(path):
        assert not last_run.report_unchanged([], tmp_path)


def test_lock(tmp_path):
    path = tmp_path / ".pylonyard.lock"
    path.write_text("process 1, since 12:00:00: buildout\n")

    for _ in cuts(path):
        with reset_buildout():
            LOCKS.hold_sandbox(tmp_path)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory):
    """Return a sandbox with a release, and strangers' files beside it and around it."""
    folder = tmp_path_factory.mktemp("cut")
    made = Sandbox(folder / "sandbox", make_store(folder / "store"))
    made.config = made.config.replace("[buildout]\n", "[buildout]\nversions =\n", 1)
    for place in (folder, made.directory, made.directory / "var", folder / "store"):
        place.mkdir(exist_ok=True)
        (place / "precious").write_text("somebody's")
    run(made)
    return made


def run(sandbox):
    """Do what ``bin/buildout`` does; return the line of an error."""
    with reset_buildout():
        os.chdir(sandbox.directory)
        driver.prepare()
        sandbox.buildout()
        try:
            made = in_this_process(
                driver.Buildout(str(sandbox.directory / "buildout.cfg"), [], False)
            )
            made.install([])
        except UserError as error:
            return str(error)
    return ""


def contents(sandbox):
    """Return what is released, and what is recorded of it."""
    found = sandbox.snapshot("buildout.cfg", MANIFEST, ".pylonyard.lock")
    live = os.path.realpath(sandbox.directory / "current")
    kept = (live, str(sandbox.directory / "parts"), str(sandbox.directory / ".installed.cfg"))
    return {
        path.replace(live, "current"): content
        for path, content in found.items()
        if path.startswith(kept)
    }


STATE = [
    ".installed.cfg",
    ".pylonyard/installed.cfg",
    ".pylonyard/cache.json",
    "current/manifest.json",
    "current/shop/server.json",
    "current/shop/production.ini",
    "var/secrets/shop/app_instance_secret",
    "../store/cache/users/*.json",
    "parts/ini/shop/production.ini",
]


@pytest.mark.system  # whole runs
@pytest.mark.parametrize("name", STATE)
def test_next_run_repairs_a_cut_file_or_reports_it_in_one_line(deployed, name):
    (path,) = deployed.directory.glob(name)
    whole, before = path.read_bytes(), contents(deployed)
    precious = sorted(deployed.directory.parent.rglob("precious"))
    assert len(precious) == 4
    lines = []
    for length in sorted({0, 1, len(whole) // 3, len(whole) // 2, len(whole) - 2}):
        path = next(deployed.directory.glob(name))
        path.write_bytes(whole[:length])
        lines.append(run(deployed))
        if lines[-1]:
            assert is_one_line(lines[-1])
            path.write_bytes(whole)
            assert run(deployed) == ""
        assert contents(deployed) == before, length
        assert [path.read_text() for path in precious] == ["somebody's"] * 4
    assert any(lines) == ("secrets" in name)
