import os
import shutil

import pytest
from pylonyard.releases.store import NoReleaseError, Releases, link_commands, occupied_commands


@pytest.fixture
def releases(tmp_path):
    return Releases(tmp_path / "releases", tmp_path / "current")


def made(releases, *commands):
    """Publish a release that has ``commands`` in its ``bin``."""
    with releases.draft() as folder:
        (folder / "bin").mkdir()
        for name in commands:
            (folder / "bin" / name).touch()
        return releases.publish(folder)


def test_fresh_sandbox_has_no_release(releases):
    assert releases.numbers() == []
    assert releases.current_number() is None
    assert releases.manifest(1) == {}


def test_published_draft_is_the_current_release(releases):
    assert [made(releases), made(releases)] == [1, 2]

    assert releases.numbers() == [1, 2]
    assert releases.current_number() == 2
    assert os.readlink(releases.current) == "releases/2"
    assert sorted(os.listdir(releases.folder)) == ["1", "2"]


def test_failed_draft_is_gone_and_current_stays(releases):
    made(releases)

    with pytest.raises(RuntimeError), releases.draft() as folder:
        (folder / "file").touch()
        raise RuntimeError

    assert os.listdir(releases.folder) == ["1"]
    assert releases.current_number() == 1


def test_draft_of_a_killed_run_is_removed(releases):
    (releases.folder / ".draft-x" / "bin").mkdir(parents=True)

    made(releases)

    assert os.listdir(releases.folder) == ["1"]


def test_flip_returns_to_an_earlier_release(releases):
    for _ in range(3):
        made(releases)

    releases.make_current(1)

    assert releases.current_number() == 1
    assert made(releases) == 4, "a number is never used again"


def test_release_that_is_not_there_cannot_be_current(releases):
    made(releases)

    with pytest.raises(NoReleaseError) as caught:
        releases.make_current(7)

    assert str(caught.value) == f"there is no release 7 in {releases.folder}"
    assert releases.current_number() == 1


@pytest.mark.parametrize("name", ["²", "٣", "03", "1.old"])
def test_folder_of_another_name_is_no_release(releases, name):
    made(releases)
    (releases.folder / name).mkdir()

    assert releases.numbers() == [1]
    releases.current.unlink()
    releases.current.symlink_to(f"releases/{name}")
    assert releases.current_number() is None


@pytest.mark.parametrize("target", ["releases/9", "elsewhere", "/"])
def test_dangling_or_foreign_link_is_no_release(releases, target):
    made(releases)
    releases.current.unlink()
    releases.current.symlink_to(target)

    assert releases.current_number() is None


@pytest.mark.parametrize(("keep", "kept"), [(1, [2, 5]), (2, [2, 4, 5]), (9, [1, 2, 3, 4, 5])])
def test_newest_and_the_current_release_are_kept(releases, keep, kept):
    for _ in range(5):
        made(releases)
    releases.make_current(2)

    removed = releases.prune(keep)

    assert releases.numbers() == kept
    assert removed == [n for n in range(1, 6) if n not in kept]
    assert len(os.listdir(releases.folder)) == len(kept)


def test_releases_that_are_needed_stay(releases):
    for _ in range(6):
        made(releases)

    assert releases.prune(2, {1, 3}) == [2, 4]


@pytest.mark.parametrize("text", ["", "{", "[]", "\xff"])
def test_damaged_manifest_says_nothing(releases, text):
    made(releases)
    (releases.path(1) / "manifest.json").write_text(text, encoding="latin-1")

    assert releases.manifest(1) == {}


def test_manifest_that_is_a_pipe_is_not_waited_for(releases):
    made(releases)
    os.mkfifo(releases.path(1) / "manifest.json")

    assert releases.manifest(1) == {}


def test_manifest_that_a_link_leads_to_is_read(releases, tmp_path):
    made(releases)
    (tmp_path / "kept").write_text('{"made": "today"}')
    (releases.path(1) / "manifest.json").symlink_to(tmp_path / "kept")

    assert releases.manifest(1) == {"made": "today"}


def test_manifest_is_read(releases):
    made(releases)
    (releases.path(1) / "manifest.json").write_text('{"made": "today"}')

    assert releases.manifest(1) == {"made": "today"}


@pytest.fixture
def commands(tmp_path):
    return tmp_path / "bin"


def test_bin_offers_the_scripts_of_the_current_release(releases, commands):
    made(releases, "shop", "blog")
    link_commands(commands, releases.current)
    assert sorted(os.listdir(commands)) == ["blog", "shop"]
    assert os.readlink(commands / "shop") == "../current/bin/shop"
    assert (commands / "shop").exists()

    made(releases, "shop", "wiki")
    link_commands(commands, releases.current)

    assert sorted(os.listdir(commands)) == ["shop", "wiki"]


def test_other_files_in_bin_are_left_alone(releases, commands):
    made(releases, "shop")
    commands.mkdir()
    (commands / "buildout").write_text("mine")
    (commands / "link").symlink_to("/usr/bin/env")

    link_commands(commands, releases.current)
    link_commands(commands, releases.current)

    assert (commands / "buildout").read_text() == "mine"
    assert os.readlink(commands / "link") == "/usr/bin/env"


def test_names_that_others_have_taken_are_reported(releases, commands):
    made(releases, "shop", "blog")
    link_commands(commands, releases.current)
    (commands / "wiki").write_text("mine")
    (commands / "env").symlink_to("/usr/bin/env")

    taken = occupied_commands(commands, releases.current, ["shop", "new", "wiki", "env"])

    assert taken == ["wiki", "env"]


def test_release_without_scripts_offers_none(releases, commands):
    with releases.draft() as folder:
        releases.publish(folder)

    link_commands(commands, releases.current)

    assert os.listdir(commands) == []


def test_command_of_the_sandbox_is_a_file_that_needs_no_current_release(releases, commands):
    with releases.draft() as folder:
        (folder / "bin").mkdir()
        text = "recipes = '../../../recipes'\nfrom pylonyard.commands.main import main\n"
        (folder / "bin" / "pylonyard").write_text(text)
        releases.publish(folder)

    link_commands(commands, releases.current)

    place = commands / "pylonyard"
    assert place.read_text() == "recipes = '../recipes'\nfrom pylonyard.commands.main import main\n"
    assert (place.is_symlink(), place.stat().st_mode & 0o777) == (False, 0o755)
    assert occupied_commands(commands, releases.current, ["pylonyard"]) == []
    place.write_text("from pylonyard.admin import main\n")  # an earlier version's
    assert occupied_commands(commands, releases.current, ["pylonyard"]) == []
    place.write_text("mine")
    assert occupied_commands(commands, releases.current, ["pylonyard"]) == ["pylonyard"]


def test_number_of_a_release_that_was_removed_by_hand_is_given_to_no_other(releases):
    for expected in (1, 2):
        assert made(releases) == expected
    shutil.rmtree(releases.path(2))

    assert made(releases) == 3
    with releases.draft() as folder:
        assert releases.publish(folder, used={7, 5}) == 8
