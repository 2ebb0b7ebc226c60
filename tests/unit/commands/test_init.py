import configparser
import importlib
import os
import re
import stat
import sys
from pathlib import Path

import pages
import pytest
from pylonyard.commands import init, main
from pylonyard.config import layout
from pylonyard.system.errors import UserError
from support import CHECKOUT, reset_buildout

OWN = CHECKOUT / "docs" / "your-own-application.rst"

FACTORIES = {
    "setup.py": """\
from setuptools import setup
setup(name="Quill.Pen", entry_points={"paste.app_factory": ["main = quill:main"]})
""",
    "an old setup.py": """\
import setuptools
POINTS = 1
setuptools.setup(name="Quill.Pen", packages=POINTS, entry_points='''
    [paste.app_factory]
    main = quill:main
''')
""",
    "pyproject.toml": """\
[project]
name = "Quill.Pen"
[project.entry-points."paste.app_factory"]
main = "quill:main"
""",
    "poetry's pyproject.toml": """\
[tool.poetry]
name = "Quill.Pen"
[tool.poetry.plugins."paste.app_factory"]
main = "quill:main"
""",
    "setup.cfg": """\
[metadata]
name = Quill.Pen
[options.entry_points]
paste.app_factory =
    main = quill:main
""",
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words):
    return main.main(os.getcwd(), os.path.join(os.getcwd(), "bin"), ["init", "--yes", *words])


def read(path):
    config = configparser.RawConfigParser()
    config.read_string(path.read_text())
    return {name: dict(config[name]) for name in config.sections()}


def tree(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


PROJECT = {
    *("buildout.cfg", "staging.cfg", "production.cfg", "versions.cfg"),
    *(".gitignore", "README.md", ".ci/run"),
}


def test_an_empty_folder_gets_a_project_and_an_application(place, capsys):
    assert run("quill") == 0

    made = capsys.readouterr().out.splitlines()
    assert tree(place / "quill") == PROJECT | {"quill.ini", "setup.py", "quill.py"}
    assert made[0] == f"The project quill, in {place}/quill:"
    assert {line.removeprefix("  made  ") for line in made[1:-5]} == tree(place / "quill")
    assert made[-5:] == [
        "Next, in quill:",
        "  python3 -m venv env",
        "  env/bin/pip install zc.buildout pylonyard",
        "  env/bin/buildout",
        "  bin/quill start   serves it at http://127.0.0.1:8080/",
    ]
    assert stat.S_IMODE(Path("quill/.ci/run").stat().st_mode) == 0o755


def test_each_answer_is_an_option(place):
    words = ["--application", "django", "--port", "81", "--server-name", "www.shop.org"]

    assert run("x", "--name", "pen-shop", "--mode", "mod_wsgi", *words) == 0

    development, production = (read(place / f"x/{n}.cfg") for n in ("buildout", "production"))
    assert development["site"] == {
        "name": "pen-shop",
        "eggs": "pen-shop",
        "port": "81",
        "environment": "development",
    }
    assert development["ini"]["debug"] == "true"
    assert production["site"] == {
        "server-name": "www.shop.org",
        "user": "pen-shop",
        "mode": "mod_wsgi",
        "environment": "production",
    }
    assert production["ini"] == {"debug": "false"}
    assert read(place / "x/staging.cfg")["site"]["server-name"] == "staging.shop.org"


DOCUMENTED = {
    "function": ("A plain WSGI function", "hello", "Hello", {"hello.py": "src/hello/hello.py"}),
    "flask": ("Flask", "hello", "Hello", {"hello.py": "src/hello/hello.py"}),
    "pyramid": (
        "Pyramid",
        "starter",
        "starter",
        {"starter/__init__.py": "src/starter/starter/__init__.py"},
    ),
    "django": (
        "Django",
        "mysite",
        "mysite",
        {f"mysite/{name}.py": f"src/mysite/mysite/{name}.py" for name in ("settings", "deploy")},
    ),
}


@pytest.mark.parametrize("kind", DOCUMENTED)
def test_an_example_is_the_one_of_the_documentation(place, kind):
    title, name, distribution, files = DOCUMENTED[kind]
    shown = {block.file: block.text for block in pages.blocks(OWN, title) if block.file}

    run("x", "--name", name, "--application", kind)

    for path, documented in files.items():
        assert (place / "x" / path).read_text() == shown[documented]
    setup = (place / "x/setup.py").read_text().replace(f'name="{name}"', f'name="{distribution}"')
    assert setup == shown[f"src/{name}/setup.py"]
    pins = read(place / "x/versions.cfg")["versions"]
    if kind == "pyramid":
        assert "pyramid" in pins
        assert (
            pins.items() <= read(layout.profile().with_name("pyramid-2.cfg"))[kind + "-2"].items()
        )
    if "[versions]" in shown["buildout.cfg"]:
        own = configparser.RawConfigParser()
        own.read_string("[versions]" + shown["buildout.cfg"].partition("[versions]")[2])
        assert pins == {"setuptools": "81.0.0", **own["versions"]}


@pytest.mark.parametrize("form", FACTORIES)
def test_an_application_with_a_factory_is_found(place, form):
    (place / "x").mkdir()
    (place / "x" / form.split()[-1]).write_text(FACTORIES[form])
    before = tree(place / "x")

    assert run("x") == 0

    assert tree(place / "x") - before == PROJECT | {"quill-pen.ini"}
    site = read(place / "x/buildout.cfg")
    assert (site["site"]["name"], site["site"]["eggs"]) == ("quill-pen", "Quill.Pen")
    assert site["app"]["sources"] == "."
    assert (place / "x/quill-pen.ini").read_text() == "[app:main]\nuse = egg:Quill.Pen\n"


def test_an_ini_file_for_production_is_the_template(place):
    (place / "src/pen").mkdir(parents=True)
    (place / "src/pen/setup.py").write_text(FACTORIES["setup.py"])
    for name in ("development", "production", "test"):
        (place / f"src/pen/{name}.ini").write_text("[app:main]\nuse = egg:Quill.Pen\n")
    (place / "aaa.ini").write_text("[tool]\n")

    assert run() == 0

    config = read(place / "buildout.cfg")
    assert config["ini"] == {"template": "src/pen/production.ini"}
    assert config["app"]["sources"] == "src/pen"
    assert not list(place.glob("quill*.ini"))


FLASK = "from types import SimpleNamespace as Flask\n"
WITHOUT_FACTORY = {
    "flask": ("web.py", f"{FLASK}app = Flask(answer=1)\n"),
    "flaskmaker": ("web.py", f"{FLASK}def create_app():\n    return Flask(answer=1)\n"),
    "function": ("wsgi.py", "def application(environ, start_response):\n    return 1\n"),
    "pyramid": ("__init__.py", "def main(global_config, **settings):\n    return settings\n"),
}


@pytest.mark.parametrize("what", WITHOUT_FACTORY)
def test_an_application_without_a_factory_gets_one_beside_it(place, what, monkeypatch):
    path, text = WITHOUT_FACTORY[what]
    package = f"{what}shop"  # modules stay in this process
    (place / package).mkdir()
    (place / package / "__init__.py").touch()
    (place / package / path).write_text(text)
    (place / "setup.py").write_text(f'from setuptools import setup\nsetup(name="{package}")\n')
    before = {name: (place / name).read_text() for name in tree(place)}
    words = ["--application", "pyramid", "--object", f"{package}:main"]

    assert run(*(words if what == "pyramid" else [])) == 0

    assert {name: (place / name).read_text() for name in before} == before
    config = read(place / "buildout.cfg")
    assert config["site"]["eggs"] == f"{package}-deploy"
    assert config["app"]["sources"].split() == [".", "deploy"]
    setup = (place / "deploy/setup.py").read_text()
    assert f'name="{package}-deploy"' in setup and f'install_requires=["{package}"]' in setup
    (module,) = re.findall(r"main = ([\w.]+):main", setup)
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.syspath_prepend(str(place / "deploy"))
    own = read(place / f"{package}.ini")["app:main"]
    made = importlib.import_module(module).main({}, **{k: v for k, v in own.items() if k != "use"})
    if what.startswith("flask"):
        assert (made.answer, made.secret_key) == (1, "<secret:secret-key>")
    else:
        assert (made == {}) if what == "pyramid" else (made({}, None) == 1)


def test_a_django_project_without_a_factory_is_found_by_its_manage_py(place):
    (place / "setup.py").write_text('from setuptools import setup\nsetup(name="shop")\n')
    (place / "manage.py").write_text(
        'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings.live")\n'
    )

    assert run() == 0

    code = (place / "deploy/shop_deploy/deploy.py").read_text()
    compile(code, "deploy.py", "exec")
    assert "\nfrom shop.settings import live as settings\n" in code
    assert 'os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings.live"' in code
    assert "main = shop_deploy.deploy:main" in (place / "deploy/setup.py").read_text()
    assert not (place / "deploy/shop_deploy/settings.py").exists()


def test_what_is_there_is_kept_and_said(place, capsys):
    (place / "quill").mkdir()
    kept = {
        "buildout.cfg": "[buildout]\nparts =\n",
        ".gitignore": "bin\n/parts\n",
        "README.md": "Mine.\n",
        "quill.py": "mine = True\n",
        "setup.py": FACTORIES["setup.py"],
    }
    for name, text in kept.items():
        (place / "quill" / name).write_text(text)
    (place / "quill/versions.cfg").symlink_to("nowhere")

    assert run("quill") == 0

    assert {name: (place / "quill" / name).read_text() for name in kept} == kept
    assert os.readlink(place / "quill/versions.cfg") == "nowhere"
    printed = capsys.readouterr().out
    said = [line for line in printed.splitlines() if line.startswith("  kept")]
    assert said == [
        "  kept  buildout.cfg: it is there already; unite this with it:",
        "  kept  versions.cfg: it is there already",
        "  kept  .gitignore: it is there already; add to it: /.installed.cfg /.pylonyard/ "
        "/.pylonyard.lock /cache/ /current /develop-eggs/ /eggs/ /env/ /releases/ /var/ "
        "*.egg-info/ __pycache__/",
        "  kept  README.md: it is there already",
    ]
    assert (place / "quill/production.cfg").exists()
    for line in ("extends = versions.cfg", "extensions = pylonyard", "parts = release", "[app]"):
        assert f"\n        {line}\n" in printed


def test_a_second_time_changes_nothing(place, capsys):
    run("quill", "--application", "flask")
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    capsys.readouterr()

    assert run("quill") == 0

    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before
    assert "made" not in capsys.readouterr().out


NAME = (
    "expected a name of at most 30 small letters, digits, - and _, starting with a letter (not "
    "bin, buildout, etc, pylonyard, test)"
)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["größe"], f"name: {NAME}, got 'größe'; answer with: --name NAME"),
        (["9"], f"name: {NAME}, got '9'; answer with: --name NAME"),
        (
            ["class"],
            "name: expected a name that its module can have, got 'class', which is a keyword of "
            "Python; answer with: --name NAME",
        ),
        (
            ["x", "--name", "json"],
            "name: expected a name that its module can have, got 'json', which is the name of a "
            "module",
        ),
        (
            ["x", "--application", "factory"],
            "application: expected pyramid, flask, django or function, since there is no "
            "distribution with an entry point paste.app_factory, got 'factory'",
        ),
        (["file"], "file: expected a folder, got a file; name another one"),
        (
            ["stray"],
            "stray: expected setup.py or pyproject.toml that installs app.py, got neither; write "
            "one, or name another folder",
        ),
        (
            ["odd"],
            "odd/setup.py: expected name = 'NAME' in setup(), got none that is plain",
        ),
        (
            ["bare"],
            "object: expected module:name, such as quill.wsgi:application, got ''; answer with: "
            "--object MODULE:NAME",
        ),
        (
            ["a{b"],
            "the path '{0}/a{{b' has '{{', and logrotate cannot hold it; move the folder to "
            "another path",
        ),
    ],
)
def test_what_cannot_be_is_one_line_and_nothing_is_made(place, capsys, words, line):
    for name in ("stray", "odd", "bare"):
        (place / name).mkdir()
    (place / "file").touch()
    (place / "stray/app.py").touch()
    (place / "stray/pyproject.toml").write_text("[tool.ruff]\nline-length = 100\n")
    (place / "stray/setup.cfg").write_text("[flake8]\nselect = E\n")
    (place / "odd/setup.py").write_text("setup(name=found())\n")
    (place / "bare/setup.py").write_text('setup(name="bare")\n')
    before = tree(place)

    assert run(*words) == 1

    expected = line.format(place) if "{0}" in line else line
    assert capsys.readouterr() == ("", f"pylonyard: {expected}\n")
    assert tree(place) == before


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--name", "a b"], f"--name: {NAME}, got 'a b'; see"),
        (
            ["--port", "70000"],
            "--port: expected a whole number (a TCP port) from 1 to 65535, got '70000'; see",
        ),
        (
            ["--server-name", "ä b"],
            "--server-name: expected a host name or address, got 'ä b'; see",
        ),
        (
            ["--application", "flsk"],
            "--application: expected factory or pyramid or flask or django or function, got "
            "'flsk'; see",
        ),
        (["--mod", "x"], "unknown option --mod; did you mean --mode? See"),
    ],
)
def test_a_wrong_command_line_is_named(place, capsys, words, line):
    with pytest.raises(SystemExit) as ended:
        run("x", *words)

    assert ended.value.code == 2
    assert capsys.readouterr() == ("", f"pylonyard: {line} pylonyard init --help\n")
    assert tree(place) == set()


def test_a_person_is_asked_what_was_not_given_until_the_answer_can_be(place, capsys):
    answers = iter(["class", "pen", "flsk", "", "81", "pen.example", "mod_wsgi"])
    asked = []

    def ask(text, usual):
        asked.append((text.split()[0], usual))
        return next(answers) or usual

    found = init.examine(place / "größe")
    given = init.check_answers(found, {"mode": "proxy"}, ask)

    assert given == {
        "name": "pen",
        "application": "function",
        "port": "81",
        "server-name": "pen.example",
        "mode": "proxy",
    }
    assert asked == [
        *[("name", "")] * 2,
        *[("kind", "function")] * 2,
        ("port", "8080"),
        ("host", "www.example.org"),
    ]
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_the_end_of_the_input_is_one_line(monkeypatch):
    def ended(_):
        raise EOFError

    monkeypatch.setattr("builtins.input", ended)

    with pytest.raises(UserError, match="got the end of the input; use --yes to accept"):
        init._ask("name", "")


def test_the_command_of_pip_passes_on_what_is_of_a_sandbox(place, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["pylonyard", "doctor", "--json"])

    assert main.console() == 1

    assert capsys.readouterr().err == (
        f"pylonyard: doctor: expected a sandbox in {place}, got no bin/pylonyard; a run of "
        "buildout makes it\n"
    )
    (place / "bin").mkdir()
    (place / "bin/pylonyard").touch()
    called = []
    monkeypatch.setattr(os, "execv", lambda *words: called.append(words))
    main.console()
    assert called == [(Path("bin/pylonyard"), ["bin/pylonyard", "doctor", "--json"])]


def test_the_command_of_pip_needs_no_run_for_what_comes_before(place, monkeypatch, capsys):
    for words in (
        ["init", "x", "--yes"],
        ["config", "-c", "x/versions.cfg"],
        ["completion", "zsh"],
    ):
        monkeypatch.setattr(sys, "argv", ["pylonyard", *words])
        with reset_buildout():
            assert main.console() == 0
    assert "pins what serves it" not in capsys.readouterr().err
