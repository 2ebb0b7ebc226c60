import os
import subprocess
import sys
from pathlib import Path

import pytest
from pylonyard.environments import eggs_venv
from pylonyard.packages import interpreters
from pylonyard.packages.integrity import RefusedError


@pytest.fixture
def locations(tmp_path):
    """Two folders, each with a module."""
    folders = [tmp_path / name for name in ("Shop-1.0.egg", "a b")]
    for number, folder in enumerate(folders):
        folder.mkdir()
        (folder / f"module{number}.py").write_text("")
    return folders


def python(home, code):
    program = [home / "bin" / "python", "-c", code]
    environment = {"PATH": "/usr/bin", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        program, env=environment, capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.system
def test_environment_sees_its_locations_in_order_and_no_other(tmp_path, locations):
    home = eggs_venv.make(tmp_path / "store", locations)

    code = "import sys, module0, module1; print(*sys.path[1:], sys.prefix, sep='\\n')"
    *path, prefix = python(home, code).splitlines()

    library = [Path(p) for p in path if not p.startswith(str(tmp_path))]
    assert all("site-packages" not in p.parts and "dist-packages" not in p.parts for p in library)
    assert path[-3:] == [str(eggs_venv.site_packages(home)), *map(str, locations)]
    assert prefix == str(home)


def test_environment_is_made_once_for_its_contents(tmp_path, locations):
    store = tmp_path / "store"
    home = eggs_venv.make(store, locations)

    assert eggs_venv.make(store, locations) == home
    assert eggs_venv.make(store, locations[::-1]) != home
    assert eggs_venv.make(store, locations[:1]) != home
    assert len(os.listdir(store)) == 3, "and no drafts are left"


def write_data(egg, name, text):
    path = egg / "Shop-1.0.dist-info" / "data" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_data_of_eggs_is_where_pip_puts_it(tmp_path, locations):
    store, (first, second) = tmp_path / "store", locations
    plain = eggs_venv.make(store, locations)
    assert eggs_venv.make(store, locations, with_data=True) == plain

    page = write_data(first, "share/page.html", "first")
    write_data(second, "share/page.html", "second")
    for name in ("bin/python", "pyvenv.cfg", "share/__pycache__/a.pyc"):
        write_data(first, name, "other")
    write_data(
        first, f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages/a.py", ""
    )
    home = eggs_venv.make(store, locations, with_data=True)

    shown = python(home, "import sys; print(open(sys.prefix + '/share/page.html').read())")
    assert (home != plain, shown) == (True, "first\n")
    assert not (home / "share" / "__pycache__").exists()
    assert sorted(os.listdir(eggs_venv.site_packages(home))) == [eggs_venv.PTH]
    assert eggs_venv.make(store, locations, with_data=True) == home
    (home / "share" / "page.html").unlink()
    with pytest.raises(RefusedError, match=r"share/page\.html: expected a file, got none"):
        eggs_venv.make(store, locations, with_data=True)
    assert os.readlink(home / "share" / "page.html") == str(page)


def test_lines_of_an_editable_project_are_taken_along(tmp_path):
    source, project = tmp_path / "src", tmp_path / "project-1"
    for folder in (source, project):
        folder.mkdir()
    (source / "shop.py").write_text("")
    (project / "__editable__.pth").write_text(f"{source}\n")

    home = eggs_venv.make(tmp_path / "store", [project])

    lines = (eggs_venv.site_packages(home) / eggs_venv.PTH).read_text().splitlines()
    assert lines == [str(project), str(source)]
    python(home, "import shop")


def test_environment_runs_on_the_real_interpreter():
    assert not interpreters.interpreter().is_symlink()
    assert interpreters.interpreter() == Path(os.path.realpath(sys.executable))


def test_other_folder_is_no_sandbox(tmp_path):
    with pytest.raises(ValueError) as caught:
        eggs_venv.site_packages(tmp_path / "nowhere")

    assert str(caught.value) == f"home: expected an environment, got '{tmp_path}/nowhere'"


def edit_configuration(home):
    path = home / "pyvenv.cfg"
    path.write_text(path.read_text().replace("= false", "= true"))
    return path, "what it was made with", "other content"


def replace_interpreter(home):
    path = home / "bin" / "python3"
    path.unlink()
    path.symlink_to("/bin/true")
    return path, "what it was made with", "other content"


def remove_link(home):
    path = home / "bin" / "python3"
    path.unlink()
    return path, "a file", "none"


def add_module(home):
    path = eggs_venv.site_packages(home) / "usercustomize.py"
    path.write_text("")
    return path, "no such file", "one"


def add_link_to_a_folder(home):
    path = home / "lib" / "more"
    path.symlink_to("/tmp")
    return path, "no such file", "one"


@pytest.mark.system
@pytest.mark.parametrize(
    "tamper",
    [edit_configuration, replace_interpreter, remove_link, add_module, add_link_to_a_folder],
)
def test_environment_that_was_tampered_with_is_put_into_quarantine(tmp_path, locations, tamper):
    store = tmp_path / "cache" / "sandboxes"
    home = eggs_venv.make(store, locations)
    path, expected, got = tamper(home)

    with pytest.raises(RefusedError) as caught:
        eggs_venv.make(store, locations)

    (aside,) = (tmp_path / "cache" / "refused").iterdir()
    output = f"{path}: expected {expected}, got {got}; moved to {aside}"
    assert str(caught.value) == output
    assert eggs_venv.make(store, locations) == home
    python(home, "import module0, module1")
