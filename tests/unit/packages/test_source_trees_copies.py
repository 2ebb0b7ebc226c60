import os
import shutil
import socket

import pytest
from pylonyard.config import inputs
from pylonyard.packages import builds, source_trees
from pylonyard.system.errors import CommandError
from support import IN_TREE_BACKEND, PACK

# A build backend that packs all it finds, and changes its source while it works.
BACKEND = """
def build_wheel(folder, settings=None, metadata=None):
    {then}
    members = {{}}
    for here, _, names in os.walk("shop"):
        for each in names:
            path = os.path.join(here, each)
            members[path] = open(path, "rb").read()
    return pack(folder, "Shop", members)
"""


@pytest.fixture
def tree(tmp_path):
    source = tmp_path / "source"
    write(source / "pyproject.toml", IN_TREE_BACKEND)
    write(source / "backend.py", PACK + BACKEND.format(then="pass"))
    write(source / "shop" / "__init__.py", "price = 1\n")
    return source


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def digest(tree):
    return source_trees.digest(tree, editable=False)


def files(tree):
    return {p.relative_to(tree).as_posix() for p in source_trees.files_of(tree) if p.is_file()}


OWN = {"backend.py", "pyproject.toml", "shop/__init__.py"}


def test_only_at_the_top_are_folders_left_out_that_builds_make(tree):
    kept = {
        "shop/build/__init__.py",
        "shop/static/dist/app.js",
        "shop/static/build/app.js",
        "shop/static/node_modules/lib.js",
        "shop/static/.well-known/security.txt",
        "shop/.htaccess",
        "src/build/__init__.py",
        "shop/example.egg-info/PKG-INFO",
    }
    left_out = {
        "build/lib/shop.py",
        "dist/Shop-1.0.tar.gz",
        "node_modules/lib.js",
        ".venv/x.py",
        ".github/ci.yml",
        "Shop.egg-info/SOURCES.txt",
        "src/Shop.egg-info/SOURCES.txt",
        "shop/__pycache__/a.txt",
        "shop/.git/HEAD",
        "shop/old.pyc",
        "env/pyvenv.cfg",
    }
    for name in (*kept, *left_out):
        write(tree / name, "")

    assert files(tree) == OWN | kept


def test_what_a_link_leads_to_is_part_of_the_source(tree, tmp_path):
    shared = write(tmp_path / "shared" / "page.html", "old\n")
    (tree / "shop" / "shared").symlink_to(shared.parent)
    (tree / "shop" / "one.html").symlink_to(shared)
    before = digest(tree)

    assert files(tree) == OWN | {"shop/shared/page.html", "shop/one.html"}
    copied = source_trees.copy(tree, tmp_path)
    assert (copied / "shop" / "shared" / "page.html").read_text() == "old\n"
    assert not (copied / "shop" / "shared").is_symlink()
    assert digest(copied) == before

    shared.write_text("new\n")

    assert digest(tree) != before


def test_source_behind_a_link_is_read_like_any_other(tree, tmp_path):
    (tmp_path / "link").symlink_to(tree)

    assert files(tmp_path / "link") == OWN
    assert digest(tmp_path / "link") == digest(tree)


def test_what_is_neither_file_nor_folder_is_left_out(tree, tmp_path):
    before = digest(tree)
    (tree / "shop" / ".#__init__.py").symlink_to("somebody@machine.4711:1")
    (tree / "shop" / "self").symlink_to(".")
    (tree / "shop" / "up").symlink_to("..")
    os.mkfifo(tree / "shop" / "pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.relpath(tree / "shop" / "socket"))
        assert files(tree) == OWN
        assert digest(tree) == before
        assert {path.name for path in source_trees.copy(tree, tmp_path).rglob("*")} == {
            *("backend.py", "pyproject.toml", "shop", "__init__.py")
        }


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: write(tree / "shop" / "__init__.py", "price = 2\n"),
        lambda tree: (tree / "shop" / "__init__.py").chmod(0o755),
        lambda tree: (tree / "shop").rename(tree / "shops"),
        lambda tree: write(tree / "shop" / ".htaccess", ""),
        # The same bytes one after the other, in other files.
        lambda tree: (
            write(tree / "shop" / "__init__.py", "price"),
            write(tree / "shop" / "a.py", " = 1\n"),
        ),
    ],
)
def test_digest_tells_one_source_from_another(tree, change):
    before = digest(tree)
    change(tree)

    assert digest(tree) != before


@pytest.mark.system
def test_half_typed_state_is_never_kept_under_the_digest_of_a_good_one(tree, tmp_path):
    store, good = tmp_path / "store", digest(tree)
    module = tree / "shop" / "__init__.py"
    write(
        tree / "backend.py",
        PACK + BACKEND.format(then=f"open({str(module)!r}, 'w').write('price = 2\\n')"),
    )
    whole = digest(tree)

    place = builds.build(tree, store, editable=False)

    assert module.read_text() == "price = 2\n"
    assert place.name == f"source-{whole}"
    assert (place / "shop" / "__init__.py").read_text() == "price = 1\n"
    assert builds.build(tree, store, editable=False).name != place.name
    assert good != whole


@pytest.mark.system
def test_change_between_looking_and_copying_names_what_was_copied(tree, tmp_path, monkeypatch):
    copy = builds.copy

    def late(source, scratch):
        write(source / "shop" / "__init__.py", "price = (\n")
        copied = copy(source, scratch)
        write(source / "shop" / "__init__.py", "price = 1\n")
        return copied

    monkeypatch.setattr(builds, "copy", late)
    half = builds.build(tree, tmp_path / "store", editable=False)
    monkeypatch.undo()

    good = builds.build(tree, tmp_path / "store", editable=False)

    assert half != good
    assert (good / "shop" / "__init__.py").read_text() == "price = 1\n"


@pytest.mark.system
def test_file_that_goes_while_the_tree_is_copied_is_one_line(tree, tmp_path, monkeypatch):
    copy_one, module = shutil.copy2, tree / "shop" / "__init__.py"

    def gone(source, target):
        if source == module:
            module.unlink()
        return copy_one(source, target)

    monkeypatch.setattr(shutil, "copy2", gone)
    with pytest.raises(CommandError) as caught:
        builds.build(tree, tmp_path / "store", editable=False)

    assert str(caught.value) == f"cannot build {tree}: {module}: No such file or directory"


def test_new_file_behind_a_link_to_a_folder_is_a_change(tmp_path):
    folder = write(tmp_path / "real" / "a.py", "").parent
    (tmp_path / "link").symlink_to(folder)
    before = inputs.state_digest([str(tmp_path / "link")], [])

    write(folder / "b.py", "")

    assert inputs.state_digest([str(tmp_path / "link")], []) != before
    shutil.rmtree(folder)
    assert inputs.state_digest([str(tmp_path / "link")], []) != before
