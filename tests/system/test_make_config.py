"""Installers and the judgement of an ini, with the real PasteScript and PasteDeploy."""

import subprocess
import sys
import venv

import pytest
from pylonyard.recipes import production_ini
from pylonyard.releases.validators import Draft, load_ini
from pylonyard.system.errors import CommandError
from support import make_wheel

pytestmark = pytest.mark.system

SHOP = """
from paste.script.appinstall import Installer as Base

class Installer(Base):
    def config_content(self, command, variables):
        return '''[server:main]
use = egg:Paste#http

[app:main]
use = egg:Shop
name = %(app_name)s
secret = %(app_instance_secret)s
''' % variables

class Failing(Base):
    def config_content(self, command, variables):
        raise RuntimeError('no config today')

def make_app(global_config, **settings):
    return None
"""
POINTS = """
[paste.app_install]
main = shop:Installer
failing = shop:Failing
[paste.app_factory]
main = shop:make_app
failing = shop:make_app
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A virtual environment with an application and what serves it."""
    folder = tmp_path_factory.mktemp("make-config")
    venv.create(folder / "home", with_pip=True)
    wheel = make_wheel(folder, files={"shop.py": SHOP}, scripts=POINTS)
    packages = ["PasteScript==3.7.0", "PasteDeploy", "Paste", "setuptools==81.0.0", str(wheel)]
    pip = [folder / "home" / "bin" / "python", "-m", "pip", "--quiet", "install"]
    subprocess.run([*pip, *packages], check=True, stdout=sys.stderr)
    return folder / "home"


def test_installer_makes_the_ini_and_leaves_its_secrets_open(home, tmp_path):
    configs = tmp_path / "configs"

    text = production_ini.installer_config(home, "Shop==1.0", "main", configs)

    assert text.endswith("name = shop\nsecret = <secret:app_instance_secret>\n")
    assert [path.read_text() for path in configs.iterdir()] == [text]


@pytest.mark.parametrize(
    ("project", "name", "reason"),
    [
        ("Shop", "failing", "RuntimeError: no config today"),
        (
            "Shop",
            "other",
            "Shop has no installer (entry point 'other' of group paste.app_install)",
        ),
    ],
)
def test_installer_that_cannot_is_one_line(home, tmp_path, project, name, reason):
    with pytest.raises(CommandError) as caught:
        production_ini.installer_config(home, project, name, tmp_path / "configs")

    assert str(caught.value) == (
        f"cannot make a config of {project}: {reason}; correct its installer, or set template"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def judge(home, tmp_path):
    """Return a function that has PasteDeploy judge the text of an ini."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "env").symlink_to(home)

    def load(text):
        (tmp_path / "shop" / "production.ini").write_text(text)
        load_ini(Draft(tmp_path, tmp_path / "current"), "shop/production.ini")

    return load


def test_config_that_is_kept_is_refused_once_it_was_tampered_with(home, tmp_path):
    store = tmp_path / "configs"
    good = production_ini.installer_config(home, "Shop", "main", store)
    (kept,) = store.iterdir()
    kept.write_text(good + "use = egg:Evil\n")

    with pytest.raises(CommandError) as caught:
        production_ini.installer_config(home, "Shop", "main", store)

    assert str(caught.value).startswith(f"cannot use a config of Shop: {kept}: expected SHA-256 ")
    assert "moved to" in str(caught.value)
    assert production_ini.installer_config(home, "Shop", "main", store) == good


def test_ini_of_the_installer_loads(home, tmp_path, judge):
    judge(production_ini.installer_config(home, "Shop", "main", tmp_path / "configs"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[app:main]\nuse = egg:Missing\n", "Missing"),
        ("[app:main]\nuse = egg:Shop#other\n", "Entry point 'other' not found in egg 'Shop'"),
        ("[app:main]\nuse = egg:Shop\n", "No section 'main'"),
        ("[app:main]\nuse = egg:Shop\nx = %(y)s\n", "Bad value substitution"),
    ],
)
def test_ini_that_does_not_load_is_refused(judge, text, reason):
    with pytest.raises(CommandError) as caught:
        judge(text)

    assert str(caught.value).startswith("shop/production.ini: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
