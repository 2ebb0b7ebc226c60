import os
import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
from pylonyard.environments import scripts, tools
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
    """An environment with Shop and, before it, another version of Blog than after it."""
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
        "import paste.script.command\n"
        "\n"
        "if __name__ == '__main__':\n"
        "    sys.exit(paste.script.command.run())\n"
    )


def test_script_of_ours_runs_no_code_of_an_environment_unasked():
    text = scripts.tool_script(Path("/srv"), "pylonyard.commands.main", "'/srv'", with_tools=True)

    recipes, home = Path(scripts.__file__).parents[2], Path(sys.executable).parents[1]
    first, rest = text.split("\n' '''\n")
    assert f'exec {interpreter()} -I -S "$0" "$@"\n' in first
    early = "\n".join(tools.ending_early())
    assert rest == (
        f"{early}\n"
        "import os, sys\n"
        f"recipes = '{recipes}'\n"
        "if not os.path.isdir(recipes):  # the sandbox was moved\n"
        "    here = os.path.dirname(os.path.realpath(sys.argv[0]))\n"
        "    recipes = os.path.join(here, '../../../recipes')\n"
        "sys.path.insert(0, recipes)\n"
        "from pylonyard.environments import tools\n"
        f"tools.set_environment('{home}', '{recipes.parent}/profiles/tools.txt')\n"
        "from pylonyard.commands.main import main\n"
        "sys.exit(main('/srv'))\n"
    )


@pytest.mark.system
def test_script_of_our_own_finds_this_package(tmp_path):
    words = ["'shop'", "'/nowhere'", "['show']"]
    text = scripts.tool_script(Path("/srv"), "pylonyard.watchers.cron", *words)
    path = script(tmp_path / "tool", text)

    ended = subprocess.run([path], env={"PATH": os.defpath}, capture_output=True)

    assert ended.returncode == 1
    assert ended.stderr == b"shop-cron: [Errno 2] No such file or directory: '/nowhere'\n"


def test_distributions_are_those_that_an_import_finds(home):
    found = scripts.distributions(home)

    assert {name: d.version for name, d in found.items()} == {"shop": "1.0", "blog": "2.0"}


def test_all_console_scripts_of_the_eggs_are_found(home):
    assert scripts.available(home, ["shop[extra]>=1"]) == {
        "shop": "shop:main",
        "shop-tool": "shop:Tool.run",
    }
    assert scripts.available(home, ["Shop", "BLOG"])["blog"] == "blog:main"
    assert scripts.available(home, ["missing"]) == {}


def test_scripts_of_all_that_the_eggs_need_are_found_if_that_is_wanted(home):
    found = scripts.available(home, ["shop"], dependent=True)

    assert found == {"shop": "shop:main", "shop-tool": "shop:Tool.run", "blog": "blog:main"}


WHOLE = """\
#!python
\"\"\"An old script.\"\"\"
from __future__ import print_function
import sys
print('whole', *sys.argv[1:] + early)
"""


@pytest.mark.parametrize("place", ["old-1.data/scripts", "../../../bin"])
def test_a_script_that_calls_no_entry_point_is_found_and_made(tmp_path, place):
    packages = tmp_path / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    info = packages / "site-packages" / "old-1.dist-info"
    kept = info / "scripts" if ".data" in place else tmp_path / "bin"
    kept.mkdir(parents=True)
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: old\nVersion: 1\n")
    (info / "RECORD").write_text(f"{place}/old-script,,\n{place}/binary,,\n")
    (kept / "old-script").write_text(WHOLE)
    (kept / "binary").write_bytes(b"\x7fELF")

    found = scripts.available(tmp_path, ["old"])

    assert found == {"old-script": kept / "old-script"}
    text = scripts.text(Path(sys.executable), found["old-script"], "early = ['x']", "ignored")
    path = script(tmp_path / "made", text)
    assert subprocess.check_output([path, "a b"]) == b"whole a b x\n"


@pytest.fixture
def twins(tmp_path):
    """An environment of two distributions that have a script of one name, and one alike."""
    given = {"One": "tool = one:main\nsame = shop:main", "Two": "tool = two:main\nsame = shop:main"}
    made = [make_wheel(tmp_path, name, scripts=text) for name, text in given.items()]
    return make(tmp_path / "store", [wheels.install(each, tmp_path / "eggs") for each in made])


def test_script_that_two_eggs_have_is_refused_unless_it_is_said_which(twins):
    found = scripts.available(twins, ["One", "Two"])
    unclear = scripts.ambiguous(twins, ["One", "Two"])

    assert unclear == {"tool": ["one", "two"]}
    for wanted in (None, [("tool", "other")]):
        with pytest.raises(ValueError, match="scripts: expected one") as caught:
            scripts.chosen(found, wanted, unclear)
        assert str(caught.value) == (
            "scripts: expected one script tool, got those of one and two; say which one it is: "
            "entry-points = tool=MODULE:FUNCTION"
        )
    assert scripts.chosen(found, [("same", "same")], unclear) == [("same", "shop:main")]
    assert scripts.ambiguous(twins, ["One", "Two"], ["tool"]) == {}
    assert scripts.ambiguous(twins, ["One"]) == {}


def test_script_of_an_egg_wins_over_that_of_what_it_needs(twins):
    assert scripts.available(twins, ["One"], dependent=True)["tool"] == "one:main"
    assert scripts.available(twins, ["Two"], dependent=True)["tool"] == "two:main"


def test_scripts_may_be_chosen_and_named(home):
    found = scripts.available(home, ["Shop"])

    assert scripts.chosen(found, None) == list(found.items())
    assert scripts.chosen(found, [("shop-tool", "tool"), ("shop-tool", "shop-tool")]) == [
        ("tool", "shop:Tool.run"),
        ("shop-tool", "shop:Tool.run"),
    ]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (
            ["shop", "y", "blog"],
            "scripts: expected scripts of the eggs (shop, shop-tool), got blog, y",
        ),
        (["shop", "shop"], "scripts: expected a name for each, got shop twice"),
    ],
)
def test_scripts_that_cannot_be_made_are_refused(home, wanted, message):
    with pytest.raises(ValueError) as caught:
        scripts.chosen(scripts.available(home, ["Shop"]), [(name, name) for name in wanted])

    assert str(caught.value) == message


def test_code_runs_before_the_function_is_called_with_arguments(tmp_path, home):
    text = scripts.console(
        home / "bin" / "python", "json:dumps", "import sys\nword = 'x'", "print(word) or 1"
    )

    ended = subprocess.run([script(tmp_path / "x", text)], capture_output=True, text=True)

    assert (ended.stdout, ended.stderr, ended.returncode) == ("x\n", "1\n", 1)


@pytest.mark.parametrize(
    "words", [["-c", "print(word)"], ["-m", "json.tool", "x.json"], ["file.py", "a"]]
)
def test_the_interpreter_runs_code_first(tmp_path, home, words):
    code = "word = 'x'\nprint('first')"
    path = script(tmp_path / "python", scripts.interpreter(home / "bin" / "python", code))
    (tmp_path / "x.json").write_text("1")
    (tmp_path / "file.py").write_text("import sys, shop\nprint(word, sys.argv)\n")

    printed = subprocess.check_output([path, *words], cwd=tmp_path, text=True)

    assert printed in ("first\nx\n", "first\n1\n", "first\nx ['file.py', 'a']\n")


@pytest.mark.parametrize(
    ("made", "runner", "found"),
    [
        (["tests/x.py"], "unittest", ["discover", "-s", "tests"]),
        (["tests/__init__.py", "src/shop.py"], "unittest", ["discover", "-s", "tests", "-t", "."]),
        (["src/shop.py"], "unittest", ["discover", "-s", "src", "-t", "src"]),
        (["shop.py"], "unittest", ["discover", "-s", ".", "-t", "."]),
        (["shop.py"], "pytest", ["--ignore={0}/cache"]),
        (["shop.py"], "zope.testrunner", ["--test-path", "{0}", "--ignore_dir", "cache"]),
        (
            ["src/shop.py"],
            "zope.testrunner",
            ["--test-path", "{0}/src", "--ignore_dir", "cache"],
        ),
        (["tests/__init__.py"], "zope.testrunner", ["--path", "{0}", "--package", "tests"]),
    ],
)
def test_tests_are_found_in_a_tree(tmp_path, made, runner, found):
    for name in made:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    words = scripts.tests_in_tree(runner, tmp_path, [tmp_path / "cache", Path("/srv/cache")])

    assert words == [word.format(tmp_path) for word in found]


@pytest.mark.parametrize(
    ("runner", "found"),
    [
        ("unittest", ["discover", "-s", "my.notes", "-t", "{0}"]),
        ("pytest", ["-p", "no:cacheprovider", "--pyargs", "my.notes", "one"]),
        (
            "zope.testrunner",
            ["--test-path", "{0}", "--package", "my.notes", "--package", "one"],
        ),
    ],
)
def test_tests_are_found_in_an_installed_distribution(tmp_path, runner, found):
    files = {"one.py": "", "my/notes/__init__.py": "", "my/notes/tests/__init__.py": ""}
    egg = wheels.install(make_wheel(tmp_path, "Notes", files=files), tmp_path / "eggs")
    home = make(tmp_path / "store", [egg])

    words = scripts.tests_installed(runner, home, "NOTES")

    assert words == [word.format(egg) for word in found]


NOTES = """
import unittest

class Notes(unittest.TestCase):
    def test_notes(self):
        from my import notes
        self.assertEqual(notes.WORD, "good")
"""


@pytest.mark.system
@pytest.mark.parametrize("runner", ["unittest", "pytest", "zope.testrunner"])
def test_a_runner_finds_and_runs_the_tests(tmp_path, runner):
    needed = ["pytest", "pluggy", "iniconfig", "packaging", "pygments", "setuptools"]
    needed += ["zope.testrunner", "zope.exceptions", "zope.interface"]
    eggs = [Path(str(distribution(name).locate_file(""))) for name in needed]
    files = {"my/notes/__init__.py": "WORD = 'good'\n", "my/notes/tests.py": NOTES}
    files["my/notes/test_it.py"] = "from my.notes.tests import Notes\n"
    egg = wheels.install(make_wheel(tmp_path, "Notes", files=files), tmp_path / "eggs")
    home = make(tmp_path / "store", [*eggs, egg])
    tree = tmp_path / "tree"
    (tree / "tests").mkdir(parents=True)
    (tree / "tests" / "__init__.py").touch()
    (tree / "tests" / "test_notes.py").write_text(NOTES)
    (tree / "cache").mkdir()
    (tree / "cache" / "test_broken.py").write_text("broken")

    words = ["--tests-pattern", "test"] if runner == "zope.testrunner" else []
    command = scripts.test_command(home, runner)
    for found, folder in (
        (scripts.tests_installed(runner, home, "notes"), tmp_path),
        (scripts.tests_in_tree(runner, tree, [tree / "cache"]), tree),
    ):
        ended = subprocess.run(
            [*command, *found, *words], cwd=folder, capture_output=True, text=True
        )
        printed = ended.stdout + ended.stderr
        assert ended.returncode == 0, printed
        assert re.search(r"Ran [12] tests?|[12] passed", printed), printed

    (tree / "my" / "notes").mkdir(parents=True)
    (tree / "my" / "notes" / "__init__.py").write_text("WORD = 'of the tree, which is not run'\n")
    if runner == "unittest":
        subprocess.run([*command, "tests.test_notes"], cwd=tree, check=True)
