import os
from pathlib import Path

from pylonyard.activation import access
from pylonyard.activation.activate import Activation
from pylonyard.activation.apply import StepRunner
from pylonyard.activation.journal import Journal
from pylonyard.activation.steps import Effects
from pylonyard.releases.contents import Release, Site
from pylonyard.releases.store import Releases
from pylonyard.system.errors import CommandError
from pylonyard.system.rootfs import Change, Entry, Tree

CHANGED = Change(Entry("file"), Entry("file", 0o644))
JOINED = ("www-data", "shop")
DATA = Path("/srv/shop/var/data/shop")


def site(mode):
    return Site(
        name="shop",
        user="shop",
        data=DATA,
        live=Path("/srv/shop/releases/3/shop"),
        log=Path("/srv/shop/var/log"),
        port=8080,
        mode=mode,
    )


MODES = {
    "/srv/shop": ("shop", 0o750, 0o751),
    str(DATA): ("shop", 0o750, 0o2770),
    f"{DATA}/shop.db": ("shop", 0o600, 0o660),
    "/srv/shop/var/log/shop.log": ("shop", None, 0o660),
}


def left(mode, members):
    return access.leftover_access(Effects(members=(JOINED,), modes=MODES), [site(mode)], members)


def test_embedded_application_needs_all_of_it():
    assert not left("embedded", [JOINED])


def test_mod_wsgi_needs_the_way_to_the_release():
    found = left("mod_wsgi", [JOINED])

    assert found.members == ()
    assert list(found.modes) == list(MODES)[1:]


def test_server_of_its_own_needs_none_of_it():
    assert left("proxy", []) == Effects(members=(JOINED,), modes=MODES)


def test_files_of_accounts_go_with_the_last_membership():
    files = {"/etc/group": CHANGED, "/etc/x": CHANGED}
    ours = Effects(files, (JOINED, ("www-data", "blog")))

    assert access.leftover_access(ours, [], [JOINED]).files == {}
    assert list(access.leftover_access(ours, [], []).files) == ["/etc/group"]
    assert access.leftover_access(Effects(files), [], []) == Effects()


def test_state_of_a_folder_covers_its_contents():
    modes = {name: MODES[name] for name in list(MODES)[1:]}

    assert list(access.leftover_lines(Effects(members=(JOINED,), modes=modes))) == [
        "# www-data: no release needs it in the group shop any more",
        f"# {DATA}: no release needs it open any more",
        "# /srv/shop/var/log/shop.log: no release needs it open any more",
    ]


class Recording(StepRunner):
    def _run(self, words):
        if words[-1] == "stuck":
            raise CommandError("gpasswd", "it is stuck")


def group(name, *members):
    text = f"{name}:x:7:{','.join(members)}\n"
    return Entry("file", 0o644, os.geteuid(), os.getegid(), text.encode())


def closed(tmp_path, name, now):
    """Close what an embedded release opened.

    Return the tree, what the journal still says was done, and what was said.
    """
    tree, said = Tree(tmp_path), []
    data = tree.path(str(DATA))
    data.mkdir(parents=True)
    data.chmod(0o2770)
    tree.put("/etc/group", now)
    changes = {"/etc/group": Change(group(name), group(name, "www-data"))}
    ours = Effects(changes, (("www-data", name),), {str(DATA): ("root", 0o750, 0o2770)})
    runner = Recording(tree, tmp_path, Journal(str(tmp_path), 2, "now", ours), said.append)
    releases = Releases(tmp_path / "releases", tmp_path / "current")

    Activation(tmp_path, releases, tree)._withdraw_access(
        runner, Release(3, tmp_path, (site("proxy"),), ())
    )

    return tree, runner.journal.ours, said


def mode(tree):
    return tree.path(str(DATA)).stat().st_mode & 0o7777


TOLD = [
    "# www-data: no release needs it in the group shop any more",
    f"# {DATA}: no release needs it open any more",
]


def test_folder_that_is_not_needed_any_more_is_closed_and_forgotten(tmp_path):
    tree, ours, said = closed(tmp_path, "shop", now=group("shop", "www-data"))

    assert (ours, said) == (Effects(), TOLD)
    assert tree.read("/etc/group") == group("shop")
    assert mode(tree) == 0o750


def test_groups_that_others_have_changed_since_are_left_to_the_tool(tmp_path):
    tree, ours, said = closed(tmp_path, "shop", now=group("shop", "www-data", "ann"))

    assert (ours, said) == (Effects(), [*TOLD, "gpasswd --delete www-data shop"])
    assert tree.read("/etc/group") == group("shop", "www-data", "ann")


def test_folder_that_cannot_be_closed_is_reported_and_the_release_is_active(tmp_path):
    tree, ours, said = closed(tmp_path, "stuck", now=group("stuck", "www-data", "ann"))

    assert said[-1] == "# gpasswd: it is stuck"
    assert ours.members == (("www-data", "stuck"),)
    assert mode(tree) == 0o2770
