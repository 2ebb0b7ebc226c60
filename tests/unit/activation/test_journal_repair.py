import pytest
from pylonyard.activation.journal import Journal, possible_changes, possible_changes_of_tool
from pylonyard.activation.steps import Effects, Join, Tool
from pylonyard.system.rootfs import ABSENT, Change, Entry

VHOST = "/etc/apache2/sites-available/shop.conf"
LINK = Entry("link", content=b"x")
FOLDER = Entry("folder", 0o755)


def file(text):
    return Entry("file", 0o644, 0, 0, text.encode())


OURS, THEIRS = file("ours"), file("theirs")
JOINED, PLAIN, OTHERS = file("shop:www-data"), file("shop:"), file("shop:\ncolleagues:games")
ACTIVE = Effects(
    {VHOST: Change(ABSENT, OURS), "/etc/group": Change(PLAIN, JOINED)}, (("www-data", "shop"),)
)


def withdrawn(pending, now):
    """Return what the repair takes for ours after a deactivation that was killed."""
    return possible_changes(Journal("/srv/shop", 1, ours=ACTIVE, pending=pending), now)


def test_files_that_a_killed_deactivation_removed_come_back():
    pending = {VHOST: OURS, "/etc/group": JOINED}

    assert withdrawn(pending, {VHOST: ABSENT, "/etc/group": PLAIN}) == {
        VHOST: Change(OURS, ABSENT),
        "/etc/group": Change(JOINED, PLAIN),
    }
    assert withdrawn(pending, pending) == {}


def test_groups_that_others_made_since_are_left():
    assert withdrawn({"/etc/group": JOINED}, {"/etc/group": OTHERS}) == {}


def test_file_that_others_wrote_since_is_not_taken_for_ours():
    assert withdrawn({VHOST: OURS}, {VHOST: THEIRS}) == {VHOST: Change(OURS, ABSENT)}
    assert withdrawn({VHOST: ABSENT}, {VHOST: THEIRS}) == {}


def at_work(step, pending, now):
    """Return what the repair takes for ours after a kill in a step."""
    run = Effects().with_step(step)
    return possible_changes(Journal("/srv/shop", 1, ours=ACTIVE, run=run, pending=pending), now)


@pytest.mark.parametrize(
    ("words", "name", "entry"),
    [
        (("a2ensite", "shop"), "/etc/apache2/sites-enabled/shop.conf", LINK),
        (("a2ensite", "shop"), "/var/lib/apache2/site/enabled_by_admin/shop", OURS),
        (("a2enmod", "proxy", "alias"), "/etc/apache2/mods-enabled/alias.load", LINK),
        (("update-rc.d", "shop", "defaults"), "/etc/rc2.d/S03shop", LINK),
        (("update-rc.d", "-f", "shop", "remove"), "/etc/rc2.d", FOLDER),
        (("a2ensite", "shop"), "/etc/apache2/.shop.conf.pylonyard-draft", THEIRS),
    ],
)
def test_links_named_after_what_a_step_is_about_are_ours(words, name, entry):
    assert at_work(Tool(words), {name: ABSENT}, {name: entry}) == {name: Change(ABSENT, entry)}


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("a2ensite", "shop"), "/etc/apache2/sites-enabled/mine.conf"),
        (("a2enmod", "proxy"), "/etc/apache2/mods-enabled/proxy_fcgi.load"),
        (("update-rc.d", "shop", "defaults"), "/etc/rc2.d/S01shop2"),
    ],
)
def test_other_links_are_not(words, name):
    assert at_work(Tool(words), {name: ABSENT}, {name: LINK}) == {}


def test_accounts_that_a_step_was_changing_are_left_to_the_tools_that_know_them():
    assert at_work(Join("www-data", "shop"), {"/etc/group": PLAIN}, {"/etc/group": OTHERS}) == {}


def test_groups_that_others_made_between_two_activations_are_not_undone():
    again = Effects({"/etc/group": Change(OTHERS, THEIRS), VHOST: Change(OURS, THEIRS)})

    assert ACTIVE.then(again).files == {
        VHOST: Change(ABSENT, THEIRS),
        "/etc/group": Change(OTHERS, THEIRS),
    }


@pytest.mark.parametrize(
    ("after", "ours"), [("colleagues:x:9:\nshop:x:7:www-data\n", []), (None, ["/etc/group"])]
)
def test_groups_that_others_made_while_ours_was_joined_are_theirs(after, ours):
    before, joined = file("shop:x:7:\n"), file("shop:x:7:www-data\n")
    run = Effects().with_step(Join("www-data", "shop"))
    changes = {"/etc/group": Change(before, file(after) if after else joined)}

    assert list(possible_changes_of_tool(run, changes)) == ours
