import os

import pytest
from pylonyard.activation import activate
from pylonyard.activation import journal as journals
from pylonyard.activation.activate import Activation
from pylonyard.activation.apply import StepRunner, undo_files
from pylonyard.activation.host.conffiles import Decision, decide
from pylonyard.activation.journal import Journal
from pylonyard.activation.steps import Effects
from pylonyard.releases.store import Releases
from pylonyard.system.rootfs import ABSENT, Change, Entry, Tree

WSGI = "/etc/apache2/mods-available/wsgi.load"
ENABLED = "/etc/apache2/mods-enabled/wsgi.load"
RECORD = "/var/lib/apache2/module/enabled_by_admin/wsgi"
MODULE_FOLDERS = ("/var/lib/apache2/module", "/var/lib/apache2/module/enabled_by_admin")
JOINED = ("www-data", "shop")


def file(text):
    return Entry("file", 0o644, os.geteuid(), os.getegid(), text.encode())


class Machine:
    """A scratch tree on which two sandboxes are active: a first, then b."""

    def __init__(self, root):
        self.tree = Tree(root)
        self.sandboxes = {name: root / name for name in "ab"}
        for sandbox in self.sandboxes.values():
            sandbox.mkdir()

    def lay(self, name, files, **more):
        """Lay files for a sandbox, of which the tree has some, and write its journal."""
        tree = self.tree
        before = tree.snapshot(files)
        for path, entry in files.items():
            tree.put(path, entry)
        after = {path: tree.read(path) for path in [*files, *before, *more.pop("folders", ())]}
        changes = {
            path: Change(before.get(path, ABSENT), entry)
            for path, entry in after.items()
            if before.get(path, ABSENT) != entry
        }
        effects = Effects(changes, more.pop("joined", ()), more.pop("modes", {}))
        sandbox = self.sandboxes[name]
        paths = [*files, *more.pop("laid", ())]
        laid = {path: "" for path in paths if path.startswith("/etc/")}
        journal = Journal(str(sandbox), 1, "now", effects, laid, **more)
        journals.save(tree, sandbox, journal)

    def deactivate(self, name):
        """Return what is said, but for the last line."""
        sandbox = self.sandboxes[name]
        releases = Releases(sandbox / "releases", sandbox / "current")
        said = []
        Activation(sandbox, releases, self.tree).deactivate(said.append)
        return said[:-1]

    def has(self, *names):
        return [self.tree.read(name) != ABSENT for name in names]

    def ours(self, name):
        return journals.load(self.tree, self.sandboxes[name]).ours


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def needs_it(machine, name):
    return [f"# {machine.sandboxes[name]} needs some of it, so that part stays"]


MODULE = {WSGI: file("LoadModule"), ENABLED: file("link"), RECORD: file("")}


@pytest.mark.parametrize("first", ["a", "b"])
def test_module_of_two_sandboxes_goes_with_the_last_of_them(machine, first):
    last = "b" if first == "a" else "a"
    machine.lay("a", MODULE, modules=("wsgi",), folders=MODULE_FOLDERS)
    machine.lay("b", {WSGI: file("LoadModule")}, modules=("wsgi",))

    # What the second has not changed, it hands to nobody.
    assert machine.deactivate(first) == (needs_it(machine, "b") if first == "a" else [])

    assert machine.has(WSGI, ENABLED, RECORD) == [True, True, True]
    assert machine.deactivate(last) == []
    assert machine.has(WSGI, ENABLED, RECORD, *MODULE_FOLDERS) == [False] * 5


def test_module_of_another_that_was_handed_over_counts_as_laid(machine):
    """So that the next activation lays its own, and takes it for nobody's edit."""
    machine.lay("a", {WSGI: file("LoadModule a")}, modules=("wsgi",))
    machine.lay("b", {"/etc/cron.d/b": file("b")}, modules=("wsgi",), laid=(WSGI,))

    machine.deactivate("a")

    laid = journals.load(machine.tree, machine.sandboxes["b"]).laid
    now, wanted = machine.tree.read(WSGI), file("LoadModule b")
    assert decide(now, laid[WSGI], wanted, may_be_gone=False) is Decision.INSTALL
    assert laid["/etc/cron.d/b"] == ""


def test_file_that_is_nobody_elses_goes_at_once(machine):
    machine.lay("a", {**MODULE, "/etc/cron.d/a": file("a")}, modules=("wsgi",))
    machine.lay("b", {"/etc/cron.d/b": file("b")}, modules=("wsgi",))

    machine.deactivate("a")

    assert machine.has("/etc/cron.d/a", "/etc/cron.d/b", WSGI) == [False, True, False]
    assert machine.has(ENABLED, RECORD) == [True, True]


def test_membership_is_handed_over(machine):
    """The files of accounts tell of it, and may tell of others: they are left alone."""
    group = {"/etc/group": file("shop:x:7:www-data\n")}
    machine.lay("a", group, joined=(JOINED,), members=(JOINED,))
    machine.lay("b", {}, members=(JOINED,))

    machine.deactivate("a")

    assert machine.tree.read("/etc/group") == group["/etc/group"]
    assert machine.ours("b") == Effects(members=(JOINED,))


def test_membership_that_was_handed_over_is_undone_by_name(machine):
    class Reporting(StepRunner):
        def _run(self, words):
            ran.append(words)

    ran = []
    tree, sandbox = machine.tree, machine.sandboxes["b"]
    tree.put("/etc/group", file("shop:x:7:www-data\n"))
    runner = Reporting(tree, sandbox, Journal(str(sandbox)), lambda line: None)

    undo_files(runner, Effects({"/etc/.pwd.lock": Change(ABSENT, file(""))}, (JOINED,)))

    assert ran == [["gpasswd", "--root", str(tree.root), "--delete", *JOINED]]


def test_membership_that_nobody_else_needs_is_left_to_its_name():
    """The files of accounts also show the one that is handed over."""
    other = ("www-data", "blog")
    changes = {"/etc/group": Change(file(""), file("both"))}
    ours = Effects(changes, (JOINED, other))

    rest, parts = activate.split_effects(ours, {"b": Journal("/b", 1, members=(JOINED,))})

    assert rest == Effects(members=(other,))
    assert parts == {"b": Effects(members=(JOINED,))}


def test_mode_of_a_folder_on_the_way_is_handed_over():
    modes = {"/srv": ("shop", 0o750, 0o751), "/srv/a": ("shop", 0o750, 0o751)}

    rest, parts = activate.split_effects(
        Effects(modes=modes), {"b": Journal("/b", 1, folders=("/srv", "/srv/b"))}
    )

    assert list(rest.modes) == ["/srv/a"]
    assert parts["b"].modes == {"/srv": ("shop", 0o750, 0o751)}


def test_each_thing_is_handed_to_one_sandbox():
    ours = Effects({ENABLED: Change(ABSENT, file("link"))})
    others = {name: Journal(f"/{name}", 1, modules=("wsgi",)) for name in "bc"}

    rest, parts = activate.split_effects(ours, others)

    assert (rest, parts) == (Effects(), {"b": ours})


def test_files_of_sandboxes_that_are_there_are_claimed(tmp_path):
    there = Journal(str(tmp_path), 1, laid={"/etc/cron.d/shop": ""})
    gone = Journal("/nonexistent", 1, laid={"/etc/cron.d/blog": ""})

    assert activate.claimed_files([there, gone]) == {"/etc/cron.d/shop": str(tmp_path)}
