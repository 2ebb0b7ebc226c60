import json
import operator
import os
import time

import pytest
from pylonyard.commands import cache as cache_command
from pylonyard.environments import cache_usage, tools
from pylonyard.environments.cache_usage import Stores
from pylonyard.system.errors import UserError
from support import LOCKS, reset_buildout

HOME, OLD, BUILD = "a" * 20, "b" * 20, "c" * 20
EGG = "Shop-1.0-py3.11-linux-x86_64.egg"
OLD_EGG = "Shop-0.9-py3.11-linux-x86_64.egg"


@pytest.fixture
def stores(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_command, "ROOT", tmp_path)
    cache = tmp_path / "cache"
    found = Stores(cache, cache / "eggs" / "v5" / "cp311")
    for home, egg in ((HOME, EGG), (OLD, OLD_EGG)):
        packages = cache / "sandboxes" / home / "lib" / "python3.11" / "site-packages"
        packages.mkdir(parents=True)
        (packages / "pylonyard.pth").write_text(f"{found.eggs}/{egg}\n")
        (found.eggs / egg).mkdir(parents=True)
    (cache / "mod_wsgi" / BUILD).mkdir(parents=True)
    (cache / "dist").mkdir()
    for version in ("1.0", "0.9", "0.1"):
        (cache / "dist" / f"Shop-{version}-py3-none-any.whl").write_text("wheel")
    return found


@pytest.fixture
def sandbox(tmp_path, stores):
    return make_sandbox(tmp_path / "sandbox", stores, HOME)


def make_sandbox(directory, stores, home):
    site = directory / "releases" / "1" / "shop"
    site.mkdir(parents=True)
    (site / "env").symlink_to(stores.cache / "sandboxes" / home)
    (directory / "bin").mkdir()
    cache_usage.record_needs(directory, stores, {"Shop": "0.1"})
    return directory


@pytest.fixture
def later(monkeypatch):
    """Have it be two hours later."""
    now = time.time() + 7200
    monkeypatch.setattr(time, "time", lambda: now)


def cleaned(directory, **options):
    output: list[str] = []
    cache_command.clean(directory, output.append, **{"dry_run": False, **options})
    return output


def left(stores):
    found = [entry.name for entry in cache_command.list_entries(stores)]
    return sorted(found)


def test_entry_that_no_release_needs_is_removed(sandbox, stores, later):
    output = cleaned(sandbox)

    assert left(stores) == sorted(
        [HOME, f"cp311/{EGG}", "Shop-1.0-py3-none-any.whl", "Shop-0.1-py3-none-any.whl"]
    )
    assert output[0] == f"removing {stores.cache}/dist/Shop-0.9-py3-none-any.whl"
    assert output[-1].startswith("removed:     4 ")
    assert list(stores.cache.rglob(".draft-*")) == []


def test_dry_run_removes_nothing(sandbox, stores, later):
    before = left(stores)

    output = cleaned(sandbox, dry_run=True)

    assert left(stores) == before
    assert output[-1].startswith("to be removed:     4 ")


def test_young_entry_stays(sandbox, stores):
    before = left(stores)

    cleaned(sandbox)

    assert left(stores) == before


def test_entry_that_another_sandbox_needs_stays_until_that_is_gone(
    tmp_path, sandbox, stores, later
):
    other = make_sandbox(tmp_path / "other", stores, OLD)
    cleaned(sandbox)
    assert OLD in left(stores)

    other.rename(tmp_path / "moved")
    cleaned(sandbox)

    assert OLD not in left(stores)
    assert len(list((stores.cache / "users").iterdir())) == 1


def test_entry_of_a_removed_release_is_removed(sandbox, stores, later):
    (sandbox / "releases" / "1" / "shop" / "env").unlink()

    cleaned(sandbox)

    assert HOME not in left(stores)


def test_module_that_apache_loads_stays(tmp_path, sandbox, stores, later):
    (tmp_path / "etc/apache2" / "mods-available").mkdir(parents=True)
    (tmp_path / "etc/apache2" / "mods-available" / "wsgi.load").write_text(
        f'LoadModule wsgi_module "{stores.cache}/mod_wsgi/{BUILD}/mod_wsgi.so"\n'
    )

    cleaned(sandbox)

    assert BUILD in left(stores)


def test_eggs_that_others_share_are_never_removed(tmp_path, stores, later):
    eggs = tmp_path / "shared" / "v5" / "cp311"
    stores.eggs.parent.parent.rename(tmp_path / "shared")
    directory = make_sandbox(tmp_path / "sandbox", Stores(stores.cache, eggs), HOME)

    cleaned(directory)

    assert sorted(os.listdir(eggs)) == sorted([EGG, OLD_EGG])


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"directory": "relative"}', "\0"])
def test_record_that_does_not_tell_keeps_all(sandbox, stores, later, text):
    foreign = stores.cache / "users" / "foreign.json"
    foreign.write_text(text)
    before = left(stores)

    with pytest.raises(UserError) as caught:
        cleaned(sandbox)

    assert str(caught.value) == (
        f"{foreign}: expected the record of a sandbox, got something else; "
        "see what it is, and move it elsewhere if no sandbox uses the cache"
    )
    assert left(stores) == before


@pytest.mark.system
def test_record_cut_at_any_byte_keeps_all(sandbox, stores, later):
    (record,) = (stores.cache / "users").iterdir()
    whole = record.read_bytes()
    for length in range(len(whole.rstrip())):
        record.write_bytes(whole[:length])
        assert cache_command.survey(stores).unused == ()


def test_sandbox_that_cannot_be_read_counts_as_it_was_recorded(sandbox, stores, later, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(cache_usage, "needs", refuse)

    cleaned(sandbox)

    assert HOME in left(stores)
    assert OLD not in left(stores)


def test_cache_in_use_is_not_cleaned(sandbox, stores, later):
    with reset_buildout(), pytest.raises(UserError, match="expected a cache that no run uses"):
        LOCKS.share_cache(stores.cache)
        cleaned(sandbox)


def test_cache_is_shown(tmp_path, sandbox, stores, later):
    make_sandbox(tmp_path / "other", stores, OLD).rename(tmp_path / "moved")
    output: list[str] = []

    cache_command.show(sandbox, output.append)

    assert output == [
        f"{stores.cache}",
        "  wheels and sources       3       0.0 MB",
        "  eggs                     2       0.0 MB",
        "  environments             2       0.0 MB",
        "  projects                 0       0.0 MB",
        "  records of builds        0       0.0 MB",
        "  mod_wsgi builds          1       0.0 MB",
        "  configs                  0       0.0 MB",
        "used by",
        f"  {sandbox}",
        "  and 1 whose folder is gone, which no longer count",
        "not needed:     4       0.0 MB",
    ]


def test_record_is_made_anew_only_if_something_has_changed(sandbox, stores, monkeypatch):
    (record,) = (stores.cache / "users").iterdir()
    state = operator.attrgetter("st_ino", "st_mtime_ns")  # it is read, so not all of it
    before = state(record.stat())
    monkeypatch.setattr(cache_usage, "needs", lambda *_: pytest.fail("nothing has changed"))

    assert cache_usage.record_needs(sandbox, stores, {"Shop": "0.1"})
    assert state(record.stat()) == before


def test_record_lists_tools_and_their_pins(sandbox, stores, monkeypatch):
    (sandbox / "profiles").mkdir()
    (sandbox / "profiles" / "tools.txt").write_text("pip==1.0 --hash=sha256:abc\n")
    monkeypatch.setattr(tools, "TOOLS", sandbox / "profiles" / "tools.txt")
    (sandbox / "bin" / "buildout").write_text(f"{stores.cache}/sandboxes/{OLD}/bin/python\n")

    cache_usage.record_needs(sandbox, stores, {})

    (record,) = (stores.cache / "users").iterdir()
    content = json.loads(record.read_text())
    assert content["directory"] == str(sandbox)
    assert content["names"] == sorted([HOME, OLD, EGG, OLD_EGG])
    assert content["pins"] == [["pip", "1.0"], ["shop", "0.9"], ["shop", "1.0"]]


def test_cache_that_cannot_be_written_is_reported(sandbox, stores):
    (stores.cache / "users").rename(stores.cache / "moved")
    (stores.cache / "users").write_text("a file")

    assert not cache_usage.record_needs(sandbox, stores, {"Shop": "2.0"})


def test_sandbox_is_introduced_once(sandbox, stores):
    (record,) = (stores.cache / "users").iterdir()
    before = record.read_text()

    cache_usage.register(sandbox, stores)

    assert record.read_text() == before
