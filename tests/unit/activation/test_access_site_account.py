import dataclasses
import os
from pathlib import Path

import pytest
from pylonyard.activation import access
from pylonyard.activation.access import PRESUMED, settle_ownership
from pylonyard.activation.host.facts import World, WritableFolder
from pylonyard.activation.steps import Own, Permit
from pylonyard.releases.contents import Release, Site
from pylonyard.system.accounts import MAKING, as_root
from pylonyard.system.errors import ActivationError
from pylonyard.system.rootfs import Account, Permissions

SANDBOX = Path("/srv/shop")
LIVE = SANDBOX / "releases/3/shop"
LOG, RUN, DATA = (SANDBOX / name for name in ("var/log", "var/run", "var/data/shop"))
INI = LIVE / "production.ini"
SHOP = Account("shop", 990, 990, "shop", frozenset({990}))
NOBODY = Account("shop", -1, -1, "", frozenset())
MAKE = (
    "useradd --system --user-group --no-create-home --home-dir /nonexistent "
    "--shell /usr/sbin/nologin shop"
)


def site(**more):
    values = {"name": "shop", "user": "shop", "data": DATA, "log": LOG, "run": RUN}
    return Site(**{**values, "live": LIVE, "port": 8080, "mode": "proxy", **more})


def release(*sites):
    permitted = {INI: ("shop", 0o640)}
    return Release(3, SANDBOX / "releases/3", sites or (site(),), (), permitted=permitted)


def folder(uid, mode=0o755, *, is_empty=False):
    return WritableFolder(
        Permissions(mode, uid, uid), {0: "root", 990: "shop"}.get(uid, "jo"), is_empty
    )


def world(account=SHOP, maker=0, **more):
    places = [*reversed(LIVE.parents), LIVE]
    folders = {path: Permissions(0o755, maker, maker) for path in places}
    folders[INI] = Permissions(0o640, maker, 990, is_folder=False)
    values = {
        "accounts": {"shop": account},
        "folders": folders,
        "writable_folders": {LOG: folder(990), RUN: folder(990), DATA: folder(990, 0o750)},
    }
    return World(**{**values, **more})


def planned(seen, made=None):
    made = made or release()
    return [
        step.command
        for step in access.account_steps(made, access.with_missing_accounts(seen, made))
    ]


def refused(seen):
    with pytest.raises(ActivationError) as caught:
        planned(seen)
    return str(caught.value)


def test_folder_that_is_right_is_left_alone():
    assert planned(world()) == []


def test_account_is_made_before_what_is_its_own():
    missing = dict.fromkeys((LOG, RUN, DATA))
    seen = world(NOBODY, writable_folders=missing)
    seen.folders[INI] = Permissions(0o600, 0, 0, is_folder=False)

    assert planned(seen) == [
        MAKE,
        f"install -d -o shop -g shop -m 0755 {LOG}",
        f"install -d -o shop -g shop -m 0755 {RUN}",
        f"install -d -o shop -g shop -m 0750 {DATA}",
        f"chgrp shop {INI} && chmod 0640 {INI}",
    ]


def test_account_takes_the_group_of_its_name_that_is_there():
    seen = world(NOBODY, groups=frozenset({"shop"}), writable_folders={})

    assert planned(seen)[0] == MAKE.replace("--user-group", "--gid shop")


def test_folders_that_are_to_be_given_are_presumed_to_be_the_accounts():
    made = release()
    seen = access.with_missing_accounts(world(NOBODY, writable_folders={DATA: None}), made)

    assert seen.accounts["shop"].uid == PRESUMED
    assert seen.folders[DATA] == Permissions(0o750, PRESUMED, PRESUMED)


@pytest.mark.parametrize("maker", [0, 1000])
def test_empty_folder_of_who_made_the_release_is_given(maker):
    grounds = {DATA: folder(maker, is_empty=True)}
    seen = world(maker=maker, writable_folders=grounds, closed=frozenset({("shop", DATA)}))

    assert planned(seen) == [f"chown shop: {DATA}"]


@pytest.mark.parametrize("of", [0, 1000, 4321])
def test_data_of_another_are_not_taken_away(of):
    """As after a try in development, in the same checkout."""
    grounds = {DATA: folder(of, is_empty=of == 4321)}
    seen = world(writable_folders=grounds, closed=frozenset({("shop", DATA)}))

    assert refused(seen) == (
        f"{DATA}: expected a folder that shop, who runs shop, may write into, got one of "
        f"{'root' if of == 0 else 'jo'} with something in it; if it is this site's: "
        f"{as_root(f'chown -Rh shop: {DATA}')}; if it is of another use of this checkout, make one "
        "for production below /srv: docs/on-a-real-server.rst"
    )


def test_one_line_gives_all_folders_to_an_account_and_makes_that_first():
    seen = world(NOBODY, writable_folders=dict.fromkeys((LOG, DATA), folder(1000)))

    giving = as_root(f"{MAKING} shop", f"chown -Rh shop: {LOG} {DATA}")
    assert f"; if it is this site's: {giving}; " in refused(seen)


def test_data_of_another_are_not_taken_for_an_account_to_be():
    assert f"{DATA}: expected a folder" in refused(
        world(NOBODY, writable_folders={DATA: folder(1000)})
    )


def test_folder_that_an_access_control_list_opens_is_enough():
    assert planned(world(writable_folders={DATA: folder(1000)})) == []


def test_logs_may_be_in_a_folder_of_another_site_of_the_release():
    blog = site(name="blog", user="blog", data=SANDBOX / "var/data/blog")
    seen = world(
        writable_folders={LOG: folder(990)},
        accounts={"shop": SHOP, "blog": Account("blog", 991, 991, "blog", frozenset({991}))},
        closed=frozenset({("blog", LOG)}),
    )

    assert planned(seen, release(blog, site())) == []


def test_home_on_the_way_is_not_to_be_opened():
    seen = world(closed=frozenset({("shop", SANDBOX)}))

    assert refused(seen) == (
        f"{SANDBOX}: shop, who runs shop, may not enter it, and it is not to be opened for "
        "that; make a checkout below /srv: docs/on-a-real-server.rst"
    )


def test_home_on_the_way_is_seen_before_the_account_is_made():
    seen = world(NOBODY)
    seen.folders[SANDBOX] = Permissions(0o700, 1000, 1000)

    assert refused(seen).startswith(f"{SANDBOX}: shop, who runs shop, may not enter it")


@pytest.mark.parametrize(
    "now", [Permissions(0o640, 0, 0), Permissions(0o600, 0, 990), Permissions(0o640, 1000, 1000)]
)
def test_file_with_secrets_becomes_the_accounts_to_read(now):
    seen = world()
    seen.folders[INI] = dataclasses.replace(now, is_folder=False)

    assert planned(seen) == [f"chgrp shop {INI} && chmod 0640 {INI}"]


def test_file_with_secrets_that_is_the_accounts_own_is_left():
    seen = world()
    seen.folders[INI] = Permissions(0o600, 990, 990, is_folder=False)

    assert planned(seen) == []


def test_application_is_set_up_when_its_account_and_folders_are_there():
    missing = dict.fromkeys((LOG, RUN, DATA))
    seen = world(NOBODY, writable_folders=missing, to_set_up=frozenset({"shop"}))

    last = planned(seen)[-1]

    assert last == f"runuser -u shop -- {LIVE}/bin/paster setup-app {LIVE}/production.ini"


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@needs_root
def test_folder_is_made_and_given(tmp_path):
    settle_ownership(Own(tmp_path / "data/shop", "nobody", "nogroup", 0o750, make=True))

    status = (tmp_path / "data/shop").stat()
    assert (status.st_uid, status.st_mode & 0o7777) == (65534, 0o750)
    assert (tmp_path / "data").stat().st_uid == 0


@needs_root
def test_folder_in_which_something_appears_is_not_given(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(ActivationError, match="expected an empty folder"):
        settle_ownership(Own(tmp_path, "nobody", "nogroup", 0o750, make=False))

    assert tmp_path.stat().st_uid == 0


@needs_root
def test_file_is_permitted_and_no_link_is_followed(tmp_path):
    ini, link, twin = tmp_path / "ini", tmp_path / "link", tmp_path / "twin"
    ini.touch(mode=0o600)
    link.symlink_to(ini)

    with pytest.raises(OSError, match="link"):
        settle_ownership(Permit(link, "nogroup", 0o640))
    assert ini.stat().st_mode & 0o777 == 0o600
    settle_ownership(Permit(ini, "nogroup", 0o640))
    assert (ini.stat().st_gid, ini.stat().st_mode & 0o777) == (65534, 0o640)
    os.link(ini, twin)
    with pytest.raises(ActivationError, match="of one name"):
        settle_ownership(Permit(twin, "nogroup", 0o640))
