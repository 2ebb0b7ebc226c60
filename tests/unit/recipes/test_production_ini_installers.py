import sys

import pytest
from pylonyard.environments import eggs_venv
from pylonyard.packages import wheels
from pylonyard.recipes import production_ini
from pylonyard.system.errors import CommandError
from support import make_wheel


@pytest.fixture
def home(tmp_path):
    """Return a function: entry points of Shop -> a sandbox that has it."""

    def make(scripts=""):
        egg = wheels.install(make_wheel(tmp_path, scripts=scripts), tmp_path / "eggs")
        return eggs_venv.make(tmp_path / "homes", [egg])

    return make


@pytest.mark.parametrize(
    ("scripts", "name", "exists"),
    [
        ("[paste.app_install]\nmain = shop:Installer", "main", True),
        ("[paste.app_install]\nmain = shop:Installer", "admin", False),
        ("main = shop:main", "main", False),
    ],
)
def test_installer_is_an_entry_point_of_the_application(home, scripts, name, exists):
    assert production_ini.has_installer(home(scripts), "shop ==1.0", name) is exists


def test_application_that_is_not_installed_has_no_installer(home):
    assert production_ini.has_installer(home(), "Missing", "main") is False


@pytest.mark.system
def test_application_without_paste_script_is_one_line(home, tmp_path):
    with pytest.raises(CommandError) as caught:
        production_ini.installer_config(home(), "Shop", "main", tmp_path / "configs")

    assert str(caught.value) == (
        "cannot make a config of Shop: ModuleNotFoundError: No module named 'pkg_resources'; "
        "correct its installer, or set template"
    )
    assert not (tmp_path / "configs").exists()


@pytest.fixture
def interpreter(tmp_path):
    """Return a function: what an installer makes -> a home whose Python makes it."""

    def make(content):
        python = tmp_path / "home" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(
            f"#!{sys.executable}\nimport sys\nopen(sys.argv[5], 'wb').write({content!r})\n"
        )
        python.chmod(0o755)
        return tmp_path / "home"

    return make


@pytest.mark.system
def test_made_skeleton_is_kept_with_its_secrets_left_open(interpreter, tmp_path):
    content = b"[app:main]\nsecret = <secret:app_instance_secret>\n"
    home = interpreter(content)
    configs = tmp_path / "cache" / "configs"

    made = production_ini.installer_config(home, "Shop", "main", configs)
    (home / "bin" / "python").unlink()
    kept = production_ini.installer_config(home, "Shop[extra]>=1", "main", configs)

    assert made.encode() == kept.encode() == content
    assert (configs / "home-Shop-main.ini").read_bytes() == content


@pytest.mark.system
def test_skeleton_that_was_changed_since_is_refused_and_put_into_quarantine(interpreter, tmp_path):
    home = interpreter(b"[app:main]\n")
    configs = tmp_path / "cache" / "configs"
    production_ini.installer_config(home, "Shop", "main", configs)
    kept = configs / "home-Shop-main.ini"
    kept.write_text("[app:main]\nuse = egg:Evil\n")

    with pytest.raises(CommandError) as caught:
        production_ini.installer_config(home, "Shop", "main", configs)

    assert str(caught.value).startswith(f"cannot use a config of Shop: {kept}: expected ")
    assert not kept.exists()


def test_skeleton_that_is_not_utf8_is_refused_and_not_kept(interpreter, tmp_path):
    with pytest.raises(CommandError) as caught:
        production_ini.installer_config(interpreter(b"\xff"), "Shop", "main", tmp_path / "configs")

    assert str(caught.value) == "cannot make a config of Shop: it is not UTF-8"
    assert not (tmp_path / "configs").exists()


def test_installer_is_given_what_make_config_gives():
    variables = production_ini._variables("Shop", "Shop==1.0", "main")

    assert (variables["app_name"], variables["requirement"]) == ("shop", "Shop==1.0")
    assert variables["app_instance_uuid"] == "<secret:app_instance_uuid>"
