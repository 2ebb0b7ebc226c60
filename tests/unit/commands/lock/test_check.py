import pytest
from pylonyard.commands.main import parsed, run_command
from pylonyard.packages.lock import pylock
from pylonyard.packages.wheels import sha256
from support import make_wheel, reset_buildout

CONFIG = """\
[buildout]
parts = app
versions = pins

[site]
eggs =
    Shop
    Cart

[app]
recipe = pylonyard:pylons_app
eggs = ${site:eggs}
    Mine
sources = mine
lock = ${:folder}/pylock.toml
folder = profiles

[pins]
Cart = 1.0
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with a configuration, a lock of two wheels, and these in its cache."""
    monkeypatch.chdir(tmp_path)
    for name in ("profiles", "mine", "cache/dist"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "mine" / "pyproject.toml").write_text('[project]\nname = "mine"\n')
    (tmp_path / "buildout.cfg").write_text(CONFIG)
    dist = tmp_path / "cache" / "dist"
    lock(tmp_path, make_wheel(dist), make_wheel(dist, "Cart", requires="Till"))
    with reset_buildout():
        yield tmp_path


def lock(project, *wheels):
    packages = [
        pylock.Locked(
            name=wheel.name.partition("-")[0].lower(),
            version="1.0",
            wheels={wheel.name: sha256(wheel)},
        )
        for wheel in wheels
    ]
    (project / "profiles" / "pylock.toml").write_text(pylock.text(packages, "../cache/dist"))


def check(project, *words):
    words = parsed(["lock", "--check", *words])
    return run_command(str(project), str(project / "bin"), words)


def test_lock_that_lacks_what_a_locked_one_needs_does_not_fit(project, capsys):
    assert check(project) == 1
    assert capsys.readouterr().err == (
        f"pylonyard: [app] {project}/profiles/pylock.toml does not fit buildout.cfg: expected "
        "Till, got none; make a new one: bin/buildout app:lock= and then bin/pylonyard lock\n"
    )


def test_lock_that_has_all_fits(project, capsys):
    dist = project / "cache" / "dist"
    lock(project, *(make_wheel(dist, name) for name in ("Shop", "Cart")))

    assert check(project) == 0
    assert capsys.readouterr().out == f"{project}/profiles/pylock.toml fits buildout.cfg.\n"


def test_pin_that_has_changed_since_does_not_fit(project, capsys):
    config = project / "buildout.cfg"
    config.write_text(config.read_text().replace("Cart = 1.0", "Cart = 1.1"))

    assert check(project) == 1
    assert "expected cart 1.1, as versions has it, got 1.0;" in capsys.readouterr().err


def test_requirement_that_is_new_does_not_fit(project, capsys):
    config = project / "buildout.cfg"
    config.write_text(config.read_text().replace("Shop\n", "Shop\n    Bicycle >= 2\n"))

    assert check(project) == 1
    assert "expected Bicycle>=2, got none;" in capsys.readouterr().err


def test_lock_that_is_not_there_does_not_fit(project, capsys):
    assert check(project, "--file", "other.toml") == 1
    assert "expected a lock, got No such file or directory" in capsys.readouterr().err


def test_what_mr_developer_has_need_not_be_locked(project, capsys):
    (project / "buildout.cfg").write_text(CONFIG.replace("    Cart\n", "    Cart\n    Theirs\n"))
    lock(project, *(project / "cache" / "dist").glob("*.whl"), make_wheel(project, "Till"))
    assert check(project) == 1

    info = project / "develop-eggs" / "theirs-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: Theirs\nVersion: 1\n")

    assert check(project) == 0
