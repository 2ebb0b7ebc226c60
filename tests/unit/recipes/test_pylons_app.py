import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from pylonyard.config.converters import requirement
from pylonyard.environments.eggs_venv import site_packages
from pylonyard.system.atomic import Link
from support import IN_TREE_BACKEND

from tests.unit.packages.test_builds import BACKEND


@pytest.fixture
def app(sandbox):
    """Return a function: options of [app] -> the section, made by a real buildout."""

    def make(**options):
        return sandbox.buildout({f"app:{n.replace('_', '-')}": v for n, v in options.items()})[
            "app"
        ]

    return make


def path_of(section):
    """Return the folders that the sandbox of a section sees."""
    packages = site_packages(Path(section["home"]))
    return [Path(line) for line in (packages / "pylonyard.pth").read_text().splitlines()]


def test_application_is_installed_into_an_environment_of_its_own(app, sandbox):
    section = app()

    assert Path(section["home"]).parent == sandbox.store / "cache" / "sandboxes"
    assert [path.name.partition("-")[0] for path in path_of(section)] == ["Shop", "Shop_Loader"]
    live = sandbox.directory / "current" / "shop"
    assert section["application"] == "Shop"
    assert (section["python"], section["paster"]) == (f"{live}/bin/python", f"{live}/bin/paster")
    assert section["env"] == f"{live}/env"


def test_scripts_of_the_eggs_are_staged(app):
    artifacts = {artifact.path: artifact for artifact in app().recipe.artifacts()}

    assert sorted(artifacts) == [
        "shop/bin/paster",
        "shop/bin/python",
        "shop/bin/shop",
        "shop/bin/shop-admin",
        "shop/env",
    ]
    assert isinstance(artifacts["shop/env"], Link)
    assert artifacts["shop/bin/shop"].mode == 0o755


def test_scripts_and_the_interpreter_may_be_chosen(app):
    artifacts = app(scripts="shop-admin", interpreter="py").recipe.artifacts()

    assert [a.path for a in artifacts] == ["shop/env", "shop/bin/py", "shop/bin/shop-admin"]


def staged(section):
    return [artifact.path for artifact in section.recipe.artifacts()]


def test_scripts_are_named_and_made_as_zc_recipe_egg_does(app):
    fixed = ["shop/env", "shop/bin/python"]
    assert staged(app(scripts="shop-admin=admin")) == [*fixed, "shop/bin/admin"]
    assert staged(app(scripts="")) == fixed
    assert staged(app(entry_points="more=shop:main.x", scripts="more shop")) == [
        *fixed,
        "shop/bin/more",
        "shop/bin/shop",
    ]


def test_code_of_the_configuration_is_in_each_script_and_the_interpreter(app):
    artifacts = {
        artifact.path: artifact.text
        for artifact in app(
            initialization="import os\nos.umask(0)", arguments="['a'], b=1"
        ).recipe.artifacts()
        if not isinstance(artifact, Link)
    }

    assert "\nimport os\nos.umask(0)\nimport shop\n" in artifacts["shop/bin/shop"]
    assert "shop.main(['a'], b=1)" in artifacts["shop/bin/shop"]
    assert "\nimport os\nos.umask(0)\n" in artifacts["shop/bin/python"]


def test_nothing_is_started_to_read_code_that_is_not_there(app, monkeypatch):
    read = []
    monkeypatch.setattr("pylonyard.environments.scripts.check", lambda _, code: read.append(code))

    app()
    app(initialization="pass", arguments="1")

    assert read == ["pass", "call(1)"]


def test_scripts_do_not_decide_about_the_environment(app):
    assert app()["home"] == app(scripts="shop", initialization="pass", interpreter="py")["home"]


def test_eggs_are_by_default_what_the_section_is_called(sandbox):
    section = sandbox.buildout({"Shop:recipe": "pylonyard:pylons_app", "Shop:name": "shop"})["Shop"]

    assert (section["eggs"], section["application"]) == ("Shop", "Shop")


def runner_of(section):
    (found,) = (a for a in section.recipe.artifacts() if a.path == "shop/tests.json")
    return json.loads(found.text)


def test_installed_tests_are_found_by_the_modules_of_the_application(app):
    section = app(tests="unittest -v", tests_required="true")

    made = runner_of(section)
    assert made["command"][0] == f"{section['home']}/bin/python"
    assert made["words"] == ["-v"]
    assert (made["found"], made["directory"]) == (["shop"], "")
    assert {"bin/shop-test", "shop/tests-required"} <= set(staged(section))
    assert "shop/tests-required" not in staged(app(tests="unittest"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"tests": "nose -v"},
            "tests: expected pytest, unittest, zope.testrunner, with words for it, got 'nose -v'",
        ),
        ({"tests": "'"}, "tests: No closing quotation"),
        (
            {"tests": "pytest"},
            "tests: expected pytest in the environment, got none; add it to eggs",
        ),
        (
            {"tests_required": "true"},
            "tests: expected a runner, since tests-required is true, got ''",
        ),
        (
            {"entry_points": "x=y"},
            "entry-points: expected name=module:function, got 'x=y'",
        ),
        (
            {"scripts": "a/b"},
            "scripts: expected the name of a script, got 'a/b'",
        ),
        (
            {"relative_paths": "true"},
            "relative-paths: expected false, since an environment has absolute paths, got 'true'",
        ),
        (
            {"initialization": "import"},
            "initialization: expected Python code, got SyntaxError: ",
        ),
        (
            {"arguments": "a=1, 2"},
            "arguments: expected Python code, got SyntaxError: ",
        ),
        (
            {"scripts": "shop=py", "interpreter": "py"},
            "interpreter: expected another name than a script's, got py",
        ),
    ],
)
def test_bad_options_of_scripts_are_named(app, options, message):
    with pytest.raises(Exception, match=f"^{re.escape(f'[app] {message}')}"):
        app(**options)


@pytest.mark.system
def test_staged_interpreter_imports_the_application(app, sandbox):
    app().recipe.install()

    python = sandbox.directory / "parts" / "app" / "shop" / "bin" / "python"
    code = "import shop, sys; print(shop.main(), 'hypothesis' in sys.modules)"
    assert subprocess.check_output([python, "-c", code]) == b"0 False\n"


def test_further_folders_come_last(app, sandbox):
    assert path_of(app(extra_paths="lib\n/srv/lib"))[-2:] == [
        sandbox.directory / "lib",
        Path("/srv/lib"),
    ]


def test_same_section_has_the_same_environment(app):
    assert app()["home"] == app()["home"]
    assert app()["home"] != app(extra_paths="lib")["home"]


@pytest.mark.system
@pytest.mark.parametrize("option", ["develop", "sources"])
def test_project_of_the_checkout_is_taken(app, sandbox, option):
    project = sandbox.directory / "src" / "shop"
    project.mkdir(parents=True)
    (project / "pyproject.toml").write_text(IN_TREE_BACKEND)
    (project / "backend.py").write_text(BACKEND)
    (project / "shop.py").write_text("a = 1\n")

    section = app(**{option: "src/shop"})

    built = path_of(section)[0]
    assert built.parent == sandbox.store / "cache" / "projects"
    assert (project in path_of(section)) is (option == "develop")


def test_pins_of_another_section_may_be_used(sandbox):
    buildout = sandbox.buildout({"app:versions": "old", "old:Shop": "9"})

    with pytest.raises(
        Exception,
        match=r"\[app\] eggs: cannot get Shop==9 \(\[old\] Shop = 9\): there is only Shop 1\.0",
    ):
        buildout["app"]


def test_what_buildout_develops_needs_no_lock(app, sandbox):
    info = sandbox.directory / "develop-eggs" / "Tree-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: Tree\nVersion: 1.0\n")
    (sandbox.directory / "pylock.toml").write_text(
        "lock-version = '1.0'\ncreated-by = 'x'\npackages = []\n"
    )

    section = app(eggs="tree", lock="pylock.toml")

    assert path_of(section) == [info.parent]


def test_an_entry_of_a_lock_that_cannot_be_verified_is_one_line(app, sandbox):
    path = sandbox.directory / "pylock.toml"
    path.write_text(
        "lock-version = '1.0'\ncreated-by = 'uv'\n\n[[packages]]\nname = 'shop'\n"
        "version = '1.0'\nvcs = {type = 'git', url = 'https://x/shop', commit-id = 'a'}\n"
    )

    for eggs, output in (
        (
            "Shop",
            f"[app] lock: {path}, line 4: shop: a checkout of https://x/shop has no SHA-256; name "
            "its source tree in sources or develop of [app], or lock a release of it",
        ),
        (
            "Blog",
            f"[app] lock: expected Blog, got none in {path}; "
            "have uv lock that, and write the file again",
        ),
        (
            "Shopp",
            f"[app] lock: expected Shopp, got none in {path}; did you mean shop?; "
            "have uv lock that, and write the file again",
        ),
    ):
        with pytest.raises(Exception, match=f"^{re.escape(output)}$"):
            app(eggs=eggs, lock="pylock.toml")


@pytest.mark.system
def test_buildouts_own_interpreter_needs_no_other_environment(app):
    from pylonyard.packages import interpreters

    assert app(python=os.fspath(interpreters.interpreter()))["home"] == app()["home"]


@pytest.mark.parametrize(
    "text", ["Shop", "Shop==1.0", "Shop[a,b] >=1,<2", "Shop; python_version>'3'"]
)
def test_requirement_is_kept(text):
    assert requirement(text) == text


@pytest.mark.parametrize("text", ["", "a b", "==1", "Shop=1", "-e ."])
def test_other_text_is_no_requirement(text):
    with pytest.raises(ValueError) as caught:
        requirement(text)

    assert str(caught.value) == f"expected a requirement such as SimpleSite==0.3.0, got {text!r}"
