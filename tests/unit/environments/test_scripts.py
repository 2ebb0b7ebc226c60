import os
import subprocess
import sys
from pathlib import Path

import pytest
from pylonyard.environments import scripts
from pylonyard.environments.eggs_venv import make
from pylonyard.packages import wheels
from pylonyard.packages.interpreters import interpreter
from support import make_wheel

SHOP = {
    "shop.py": (
        "import sys\n"
        "def main():\n    print('main', *sys.argv[1:])\n    return 3\n"
        "class Tool:\n    @staticmethod\n    def run():\n        print('run')\n"
    )
}


@pytest.fixture
def home(tmp_path):
    """A sandbox that has Shop and, before it, another version of Blog than after it."""
    eggs = tmp_path / "eggs"
    made = [
        make_wheel(
            tmp_path,
            files=SHOP,
            scripts="shop = shop:main\nshop-tool = shop:Tool.run [extra]\n[other]\nx = shop:main",
        ),
        make_wheel(tmp_path, "Blog", "2.0", scripts="blog = blog:main"),
        make_wheel(tmp_path, "Blog", "1.0"),
    ]
    return make(tmp_path / "store", [wheels.install(wheel, eggs) for wheel in made])


def script(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_interpreter_passes_its_arguments_on(tmp_path):
    path = script(tmp_path / "python", scripts.interpreter(Path(sys.executable)))

    printed = subprocess.check_output([path, "-c", "import sys; print(sys.argv[1:])", "a b", "$x"])

    assert printed == b"['a b', '$x']\n"


@pytest.mark.system
@pytest.mark.parametrize(
    ("target", "status", "printed"),
    [("shop:main", 3, b"main a b $x\n"), ("shop:Tool.run", 0, b"run\n")],
)
def test_console_script_calls_its_function(tmp_path, home, target, status, printed):
    path = script(tmp_path / "shop", scripts.console(home / "bin" / "python", target))

    ended = subprocess.run([path, "a b", "$x"], stdout=subprocess.PIPE)

    assert (ended.returncode, ended.stdout) == (status, printed)


@pytest.mark.system
@pytest.mark.parametrize("name", ["a b", "it's", "größe", "x" * 200])
def test_path_of_the_interpreter_may_be_odd(tmp_path, name):
    python = tmp_path / name / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    path = script(tmp_path / "script", scripts.python_script(python, "print('works')"))

    assert subprocess.check_output([path]) == b"works\n"


def test_script_is_valid_python_of_any_version():
    text = scripts.console(Path("/srv/env/bin/python"), "paste.script.command:run")

    assert text == (
        "#!/bin/sh\n"
        "# -*- coding: utf-8 -*-\n"
        "'''exec' /srv/env/bin/python \"$0\" \"$@\"\n"
        "' '''\n"
        "import sys\n"
        "from paste.script.command import run\n"
        "sys.exit(run())\n"
    )


def test_script_of_ours_runs_no_code_of_an_environment_unasked():
    text = scripts.tool_script("pylonyard.commands.main", "'/srv'", tools=True)

    recipes, home = Path(scripts.__file__).parents[2], Path(sys.executable).parents[1]
    first, rest = text.split("\n' '''\n")
    assert f'exec {interpreter()} -I -S "$0" "$@"\n' in first
    assert rest == (
        "import os, sys\n"
        f"recipes = '{recipes}'\n"
        "if not os.path.isdir(recipes):  # the sandbox was moved\n"
        "    here = os.path.dirname(os.path.realpath(sys.argv[0]))\n"
        "    recipes = os.path.join(here, '../../../recipes')\n"
        "sys.path.insert(0, recipes)\n"
        "from pylonyard.environments import tools\n"
        f"tools.place('{home}', '{recipes.parent}/profiles/tools.txt')\n"
        "from pylonyard.commands.main import main\n"
        "sys.exit(main('/srv'))\n"
    )


@pytest.mark.system
def test_script_of_our_own_finds_this_package(tmp_path):
    text = scripts.tool_script("pylonyard.watchers.cron", "'shop'", "'/nowhere'", "['show']")
    path = script(tmp_path / "tool", text)

    ended = subprocess.run([path], env={"PATH": os.defpath}, capture_output=True)

    assert ended.returncode == 1
    assert ended.stderr == b"shop-cron: [Errno 2] No such file or directory: '/nowhere'\n"


def test_distributions_are_those_that_an_import_finds(home):
    found = scripts.distributions(home)

    assert {name: d.version for name, d in found.items()} == {"shop": "1.0", "blog": "2.0"}


def test_all_console_scripts_of_the_eggs_are_found(home):
    assert scripts.entry_points(home, ["shop[extra]>=1"]) == {
        "shop": "shop:main",
        "shop-tool": "shop:Tool.run",
    }
    assert scripts.entry_points(home, ["Shop", "BLOG"])["blog"] == "blog:main"
    assert scripts.entry_points(home, ["missing"]) == {}


def test_console_scripts_may_be_chosen(home):
    assert scripts.entry_points(home, ["Shop"], ["shop-tool"]) == {"shop-tool": "shop:Tool.run"}


def test_script_that_the_eggs_have_not_is_refused(home):
    with pytest.raises(ValueError) as caught:
        scripts.entry_points(home, ["Shop"], ["shop", "y", "blog"])

    assert str(caught.value) == (
        "scripts: expected scripts of the eggs (shop, shop-tool), got blog, y"
    )
