"""What a build is told of a source tree: its files, and what git says of it."""

import subprocess

import pytest
from pylonyard.packages import source_trees
from pylonyard.packages.source_trees import are_met
from pylonyard.system.errors import CommandError

FROM_GIT = '[build-system]\nrequires = ["setuptools >= 61", "Setuptools_SCM"]\n'


def git(folder, *words):
    name = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org")
    command = ["git", "-C", folder, *name, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path):
    """Return a repository with a tree in a folder, and one commit with a tag."""
    top = tmp_path / "all"
    (top / "apps" / "shop" / ".github").mkdir(parents=True)
    (top / "apps" / "shop" / "pyproject.toml").write_text(FROM_GIT)
    (top / "apps" / "shop" / ".github" / "workflow").write_text("no part of it")
    (top / "README").write_text("of all")
    git(tmp_path, "init", "--quiet", "--initial-branch=trunk", top)
    git(top, "add", "--all")
    git(top, "commit", "--quiet", "--message=All")
    git(top, "tag", "v2.3.1")
    return top


@pytest.mark.parametrize(
    ("requirements", "expected"),
    [
        (["setuptools"], True),
        (["setuptools >= 61, < 82", "wheel"], True),
        (["setuptools < 60"], False),
        (["setuptools", "hatchling"], False),
        (["setuptools[core]"], False),
        (["setuptools @ file:///setuptools.whl"], False),
        (["setuptools", "tomli; python_version < '3'"], True),
        ([], True),
    ],
)
def test_own_tools_serve_what_they_meet(requirements, expected):
    assert are_met(requirements, {"setuptools": "81.0.0", "wheel": "0.48.0"}) is expected


def test_what_is_no_requirement_is_one_line():
    with pytest.raises(CommandError, match=r"build-system\.requires: .*"):
        are_met(["three words here"], {})


def test_classic_tree_takes_setuptools_and_wheel(tmp_path):
    assert source_trees.build_requirements(tmp_path) == ["setuptools", "wheel"]
    assert not source_trees.asks_git(tmp_path)


def test_copy_has_the_history_and_no_change(repository, tmp_path):
    copy = source_trees.copy(repository / "apps" / "shop", tmp_path / "scratch")

    assert not (copy / ".github").exists()
    assert git(copy, "describe", "--tags", "--dirty") == "v2.3.1\n"
    assert git(copy, "branch", "--show-current") == "trunk\n"
    assert git(copy, "status", "--porcelain") == ""
    assert not (repository / "apps" / "shop" / ".git").exists()


def test_copy_of_a_changed_tree_shows_the_change(repository, tmp_path):
    (repository / "apps" / "shop" / "pyproject.toml").write_text(FROM_GIT + "# More.\n")

    copy = source_trees.copy(repository / "apps" / "shop", tmp_path / "scratch")

    assert git(copy, "describe", "--tags", "--dirty") == "v2.3.1-dirty\n"


def test_digest_goes_by_commits_and_tags(repository):
    tree = repository / "apps" / "shop"
    seen = {source_trees.digest(tree, editable=False)}

    git(repository, "tag", "v2.4.0")
    seen.add(source_trees.digest(tree, editable=False))
    git(repository, "commit", "--quiet", "--allow-empty", "--message=More")
    seen.add(source_trees.digest(tree, editable=False))

    assert len(seen) == 3


def test_tree_without_a_repository_is_as_it_is(tmp_path):
    tree = tmp_path / "shop"
    tree.mkdir()
    (tree / "pyproject.toml").write_text(FROM_GIT)

    copy = source_trees.copy(tree, tmp_path / "scratch")

    assert [path.name for path in copy.iterdir()] == ["pyproject.toml"]
