"""What starts servers, as activation asks for it."""

import pytest
from pylonyard.system.rootfs import Entry, Tree
from pylonyard.watchers.registry import starter, watchers


def test_servers_are_started_by_their_init_scripts():
    init = starter()

    assert init.file("shop") == "/etc/init.d/shop"
    assert init.control("shop", "start") == ("/etc/init.d/shop", "start")
    assert init.enable("shop")[0] == ("update-rc.d", "shop", "defaults")
    assert init.disable("shop")[0] == ("update-rc.d", "-f", "shop", "remove")


@pytest.mark.parametrize(
    ("name", "is_part"),
    [
        ("/etc/init.d/shop", True),
        ("/etc/rc2.d/S01shop", True),
        ("/etc/rcS.d/S01shop", True),
        ("/etc/cron.d/shop", False),
        ("/etc/rc.local", False),
    ],
)
def test_script_and_its_links_are_what_starts_a_server(name, is_part):
    assert starter().is_part(name) is is_part


def test_script_that_somebody_disabled_is_known_but_starts_nothing(tmp_path):
    tree = Tree(tmp_path)
    for name in ("rc2.d/K01shop", "rc3.d/S01blog", "rc6.d/S01wiki"):
        tree.put(f"/etc/{name}", Entry("link", content=b"../init.d/x"))

    assert (starter().registered(tree), starter().enabled(tree)) == ({"shop", "blog"}, {"blog"})


def test_cron_is_told_of_a_server_once_it_runs():
    assert [one.name for one in watchers() if one.is_last] == ["cron"]
    assert [one.name for one in watchers() if one.may_have("/etc/cron.d/shop")] == ["cron"]
    assert not any(one.may_have("/etc/cron.d/../passwd") for one in watchers())
