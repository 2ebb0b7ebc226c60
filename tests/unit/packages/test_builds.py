import os
import shutil

import pytest
from pylonyard.packages import builds, metadata
from pylonyard.packages.integrity import RefusedError
from pylonyard.system.errors import CommandError
from support import IN_TREE_BACKEND, PACK

# A build backend as PEP 517 and 660 have it.
BACKEND = f"""{PACK}
def build_wheel(folder, settings=None, metadata=None):
    open('build-was-here', 'w').close()
    return pack(folder, 'Shop', {{'shop.py': open('shop.py').read()}})

def build_editable(folder, settings=None, metadata=None):
    return pack(folder, 'Shop', {{'shop.pth': os.getcwd() + '\\n'}})
"""


@pytest.fixture
def project(tmp_path):
    source = tmp_path / "shop"
    source.mkdir()
    (source / "pyproject.toml").write_text(IN_TREE_BACKEND)
    (source / "backend.py").write_text(BACKEND)
    (source / "shop.py").write_text("a = 1\n")
    return source


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


@pytest.mark.system
def test_source_is_built_as_a_copy_and_left_alone(project, store):
    (project / "build").mkdir()
    before = sorted(os.listdir(project))

    place = builds.build(project, store, editable=False)

    assert (place / "shop.py").read_text() == "a = 1\n"
    assert place.name.startswith("shop-")
    assert sorted(os.listdir(project)) == before
    assert os.listdir(store) == [place.name]


@pytest.mark.system
def test_project_is_built_once_for_what_it_holds(project, store):
    place = builds.build(project, store, editable=False)
    (project / "backend.pyc").touch()
    (project / ".git").mkdir()
    (project / ".git" / "HEAD").touch()
    assert builds.build(project, store, editable=False) == place

    (project / "shop.py").write_text("a = 2\n")

    assert builds.build(project, store, editable=False) != place


@pytest.mark.system
def test_what_runs_make_in_a_project_is_no_part_of_its_source(project, store):
    (project / ".pylonyard.lock").touch()
    place = builds.build(project, store, editable=False)

    for name in ("cache", "parts", "releases/1", "var/run", "bin"):
        (project / name).mkdir(parents=True)
        (project / name / "buildout").touch()
    (project / "current").symlink_to("releases/1")
    (project / "bin" / "shop").symlink_to("../current/bin/shop")
    script = project / "bin" / "test"  # of another recipe; it names what is built here
    script.touch()
    (project / ".installed.cfg").write_text(f"[test]\n__buildout_installed__ = x\n\t{script}\n")
    os.mkfifo(project / "pipe")

    assert builds.digest(project, editable=False) == place.name.rpartition("-")[2]
    copied = builds.copy(project, store)
    assert sorted(os.listdir(copied)) == sorted({*os.listdir(project)} - MADE | {"bin"})
    assert os.listdir(copied / "bin") == []


MADE = {".installed.cfg", ".pylonyard.lock", "cache", "current", "parts", "pipe", "releases", "var"}


@pytest.mark.system
def test_development_sees_edits_without_a_build(project, store):
    place = builds.build(project, store, editable=True)
    assert (place / "shop.pth").read_text() == f"{project}\n"

    (project / "shop.py").write_text("a = 2\n")
    assert builds.build(project, store, editable=True) == place

    # Its metadata may quote this, and would differ from what is kept.
    (project / "README.rst").write_text("New.\n")
    assert builds.build(project, store, editable=True) != place
    (project / "README.rst").unlink()

    (project / "src" / "new").mkdir(parents=True)
    (project / "src" / "new" / "__init__.py").touch()
    assert builds.build(project, store, editable=True) != place


@pytest.mark.system
def test_kept_project_that_was_tampered_with_is_refused_and_made_good(project, store):
    place = builds.build(project, store, editable=False)
    (place / "shop.pth").write_text("import evil\n")

    with pytest.raises(RefusedError) as caught:
        builds.build(project, store, editable=False)

    assert str(caught.value).startswith(f"{place}/shop.pth: expected a file of Shop-1.0-py3-none-")
    assert (caught.value.aside / "shop.pth").exists()
    assert not (place / "shop.pth").exists()
    assert builds.build(project, store, editable=False) == place


@pytest.mark.system
def test_kept_project_that_nobody_vouches_for_is_compared_with_its_source(project, store):
    place = builds.build(project, store, editable=False)
    before = place.stat().st_ino
    shutil.rmtree(store.parent / "verified")

    assert builds.build(project, store, editable=False) == place
    assert place.stat().st_ino == before
    (place / "shop.py").write_text("evil")
    shutil.rmtree(store.parent / "verified")
    with pytest.raises(RefusedError):
        builds.build(project, store, editable=False)


def backend(text):
    return lambda project: (project / "backend.py").write_text(text)


def description(text):
    return lambda project: (project / "pyproject.toml").write_text(text)


@pytest.mark.system
@pytest.mark.parametrize(
    ("change", "editable", "message"),
    [
        (
            lambda project: (project / "pyproject.toml").unlink(),
            False,
            "cannot build {0}: no pyproject.toml and no setup.py there",
        ),
        (
            description(
                '[build-system]\nrequires = ["flit_core >=3"]\nbuild-backend = "flit_core"'
            ),
            True,
            "cannot build {0}: its build backend is not among what it requires: flit_core >=3",
        ),
        (
            backend(BACKEND.partition("def build_editable")[0]),
            True,
            "cannot build {0}: its build backend has no build_editable; "
            "name it in sources, not in develop",
        ),
        (
            backend("def build_wheel(*_):\n    raise SystemExit('no compiler')"),
            True,
            "cannot build {0}: its build backend has no build_editable; "
            "name it in sources, not in develop",
        ),
        (
            backend("def build_editable(*_):\n    raise SystemExit('no compiler')"),
            True,
            "cannot build {0}: no compiler",
        ),
    ],
)
def test_project_that_cannot_be_built_is_one_line(project, store, change, editable, message):
    change(project)

    with pytest.raises(CommandError) as caught:
        builds.build(project, store, editable=editable)

    assert str(caught.value) == message.format(project)
    assert not store.exists() or os.listdir(store) == []


def test_description_that_is_no_toml_is_one_line(project, store):
    (project / "pyproject.toml").write_text("[build-system\n")

    with pytest.raises(CommandError, match=r"cannot build .*/shop: pyproject\.toml: Expected ']'"):
        builds.build(project, store, editable=True)


@pytest.mark.system
def test_wheel_that_is_damaged_is_one_line(project, store):
    (project / "backend.py").write_text(
        "def build_editable(folder, *_):\n"
        "    open(folder + '/x.whl', 'w').close()\n"
        "    return 'x.whl'\n"
    )

    with pytest.raises(CommandError, match=r"x\.whl: damaged: File is not a zip file"):
        builds.build(project, store, editable=True)


def test_classic_setup_py_needs_no_description(tmp_path):
    assert metadata.pyproject(tmp_path) == {}
