"""A project of somebody's own, deployed by stock zc.buildout and the wheel of Pylonyard."""

import os
import pwd
import re
import shlex
import shutil
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from textwrap import dedent

import package_index
import pytest
from checkouts import CACHE, ROOT, Checkout
from interpreters_for_all import other_python
from ports import free_port
from pylonyard.config.layout import path_problem
from pylonyard.system.subprocesses import PROGRAM_PATH
from readers import File, Reader, steps
from test_documented_examples import ANYWHERE, expect_as_shown
from zope.testing.renormalizing import RENormalizing

pytestmark = pytest.mark.system

SETUP = """
from setuptools import setup

setup(
    name="quill",
    version="1.0",
    package_dir={"": "src"},
    py_modules=["quill"],
    entry_points={"paste.app_factory": ["main = quill:main"]},
)
"""

MODULE = """
def main(global_conf, word="quill", **settings):
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [word.encode()]

    return application
"""

CONFIG = """
[buildout]
extensions = pylonyard
parts = release

[site]
name = quill
eggs = quill
port = {port}
environment = development

[app]
sources = .

[ini]
template = quill.ini
"""


APP = """[app]
lock = profiles/pylock.toml
eggs +=
    ink
    paper
    quire
"""
PINS = """
[versions]
quire = 1.0
"""


class Project:
    """A folder with an application of somebody's own, and an environment with zc.buildout."""

    def __init__(self, folder, environment, environ):
        self.folder, self.environment, self.environ = folder, environment, environ
        self.port = free_port()

    def fill(self):
        self.write("setup.py", SETUP)
        self.write("src/quill.py", MODULE)
        self.write("quill.ini", "[app:main]\nuse = egg:quill\n")
        self.write("buildout.cfg", CONFIG.format(port=self.port))

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run(self, *command, check=True, cwd=None):
        finished = subprocess.run(
            command, cwd=cwd or self.folder, env=self.environ, capture_output=True, text=True
        )
        if check and finished.returncode:
            pytest.fail(f"{command}: {finished.returncode}\n{finished.stdout}{finished.stderr}")
        return finished.stdout + finished.stderr

    def buildout(self, *words, before=(), **named):
        return self.run(*before, self.environment / "bin" / "buildout", *words, **named)

    def starting(self):
        """Start a run; return its process."""
        return subprocess.Popen(
            [self.environment / "bin" / "buildout"],
            cwd=self.folder,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def answer(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=20) as answer:
            return answer.read().decode()


@pytest.fixture(scope="module")
def environment(tmp_path_factory, distributions, clean_environ):
    """Return an environment in which pip has installed zc.buildout and our wheel."""
    (wheel,) = distributions.glob("*.whl")
    home = tmp_path_factory.mktemp("installed") / "env"
    subprocess.run(["/usr/bin/python3", "-m", "venv", home], check=True)
    pip = [home / "bin" / "pip", "install", "--quiet", "--no-index", "--find-links", CACHE / "dist"]
    # The first run of a project may have no network, and then cannot replace a newer one.
    subprocess.run([*pip, "zc.buildout", "setuptools < 82", wheel], check=True, env=clean_environ)
    return home


@pytest.fixture
def empty(tmp_path, environment, clean_environ):
    """Give a project that has nothing but a cache; its server ends with the test."""
    # Neither its cache nor its eggs are anybody else's.
    (tmp_path / "home").mkdir()
    environ = {**clean_environ, "BUILDOUT_HOME": str(tmp_path / "home")}
    folder = tmp_path / "quill"
    shutil.copytree(CACHE / "dist", folder / "cache" / "dist")
    made = Project(folder, environment, environ)
    yield made
    if (made.folder / "bin" / "quill").exists():
        made.run("bin/quill", "stop", check=False)


@pytest.fixture
def project(empty):
    empty.fill()
    return empty


# Only root can leave the network and still see the files of others as theirs.
ALONE = () if os.geteuid() else ("unshare", "--net")


def test_one_line_deploys_a_project_and_all_works_in_it(project):
    first = project.buildout()
    assert "Release 1 is current." in first
    assert "they are not compared with recorded digests" in first
    project.run("bin/quill", "start")
    assert project.answer() == "quill"

    project.buildout()  # the server's log is there now
    assert project.buildout().splitlines() == [
        "pylonyard: Release 1 is current; nothing has changed.",
        f"pylonyard:   bin/quill status   it is served already at http://127.0.0.1:{project.port}/",
    ]

    with (project.folder / "buildout.cfg").open("a") as config:
        config.write("settings =\n    [app:main]\n    word = changed\n")
    assert "Release 2 is current." in project.buildout()
    project.run("bin/quill", "restart")
    assert project.answer() == "changed"
    project.run("bin/pylonyard", "rollback")
    assert project.answer() == "quill"

    paths = project.run("current/quill/bin/python", "-c", "import sys; print(*sys.path, sep='\\n')")
    assert str(project.environment) not in paths
    assert "locks" in project.run("bin/pylonyard", "lock")
    assert "stopped" in project.run("bin/quill", "stop")
    assert "server-running" in project.run("bin/pylonyard", "doctor", check=False)
    offline = project.buildout("-o", "app:lock=profiles/pylock.toml", before=ALONE)
    assert "Release 3 is current." in offline


def test_locks_that_uv_and_pip_wrote_are_installed_offline(project):
    for number, maker in enumerate(("uv", "pip"), 1):
        file = f"pylock.{maker}.toml"
        shutil.copy(ROOT / "tests" / "unit" / "packages" / "lock" / file, project.folder)
        output = project.buildout("-o", f"app:lock={file}", before=ALONE)
        assert f"Release {number} is current" in output
    project.write(
        "pylock.uv.toml", (project.folder / "pylock.uv.toml").read_text().replace("c56d", "d56d")
    )
    refused = project.buildout("-o", "app:lock=pylock.uv.toml", before=ALONE, check=False)
    assert "waitress-3.0.2-py3-none-any.whl: expected SHA-256 d56d" in refused


def test_one_distribution_of_a_lock_moves_with_what_it_needs(project, tmp_path):
    table = {"ink 1.0": ["nib"], "nib 1.0": [], "paper 1.0": [], "quire 1.0": []}
    with package_index.serve(tmp_path / "files", table) as index:
        wheels = shutil.copytree(CACHE / "dist", tmp_path / "wheels", copy_function=os.link)
        places = f"[buildout]\nindex = {index.url}\nfind-links = {wheels}"
        config = CONFIG.format(port=project.port).replace("[buildout]", places)
        config = config.replace("[app]", APP)
        project.write("buildout.cfg", config + PINS)
        project.buildout()
        project.run("bin/pylonyard", "lock")
        index.add({"ink 2.0": ["nib>=2"], "nib 2.0": [], "paper 2.0": [], "quire 2.0": []})

        told = project.run("bin/pylonyard", "lock", "--update", "Ink", "--update", "quire")

        moved = ["ink: 1.0 -> 2.0", "nib: 1.0 -> 2.0", "quire: stays at 1.0, as [versions] has it"]
        assert "\n".join(["", *moved, ""]) in told
        locked = (project.folder / "profiles" / "pylock.toml").read_text()
        assert all(f"{each}-py3" in locked for each in ("ink-2.0", "nib-2.0", "paper-1.0"))
        assert "ink-1.0" not in locked
    assert "is current" in project.buildout("-o", before=ALONE)  # the lock has all of it
    refused = project.run("bin/pylonyard", "lock", "--update", "inc", check=False)
    assert "expected a distribution of [app], got inc; did you mean ink?" in refused


def test_a_lock_that_uv_writes_now_is_installed_offline(project, tmp_path):
    # What such a lock names may change with each release of uv.
    pip = [project.environment / "bin" / "pip", "install", "--quiet", "--target"]
    project.run(*pip, tmp_path / "tool", "--find-links", CACHE / "dist", "uv==0.13.9")
    project.write("wanted", "PasteScript\nwaitress\nsetuptools < 82\n")
    uv = [tmp_path / "tool" / "bin" / "uv", "--quiet", "--no-cache", "pip", "compile", "--no-index"]
    found = ["--find-links", project.folder / "cache" / "dist", "--python", "/usr/bin/python3"]
    project.run(*uv, *found, "--format", "pylock.toml", "wanted", "-o", "pylock.toml")

    output = project.buildout("-o", "app:lock=pylock.toml", before=ALONE)

    assert "Release 1 is current" in output
    lock = project.folder / "pylock.toml"
    lock.write_text(re.sub(r'(/waitress-3.+sha256 = ")....', r"\1d56d", lock.read_text()))
    refused = project.buildout("-o", "app:lock=pylock.toml", before=ALONE, check=False)
    assert "waitress-3.0.2-py3-none-any.whl: expected SHA-256 d56d" in refused


def test_an_extension_that_buildout_installs_itself_works_offline(project, distributions, tmp_path):
    # The oldest zc.buildout that is supported, which has nothing of ours in its environment.
    project.environment = tmp_path / "env"
    project.run("/usr/bin/python3", "-m", "venv", project.environment)
    pip = [project.environment / "bin" / "pip", "install", "--quiet", "--find-links"]
    project.run(*pip, CACHE / "dist", "zc.buildout==6.0.0", "setuptools < 82", "packaging >= 26.1")
    index = project.folder / "cache" / "dist"
    shutil.copy(next(distributions.glob("*.whl")), index)
    config = CONFIG.format(port=project.port)
    links = f"find-links = {index}\nindex = file://{index}"
    project.write("buildout.cfg", config.replace("[buildout]", f"[buildout]\n{links}"))

    first = project.buildout()
    assert "Release 1 is current." in first
    assert "was already imported" not in first
    offline = project.buildout("-o", before=ALONE)

    assert "Release 1 is current; nothing has changed." in offline
    assert "Updating app." in offline
    assert "nothing has changed." in project.buildout("-o", before=ALONE).splitlines()[0]
    wheels = list((project.folder / "eggs" / "v5").glob("pylonyard-*.egg"))
    assert str(wheels[0]) in (project.folder / "bin" / "pylonyard").read_text()
    config = config.replace("sources = .", "").replace("[buildout]", f"[buildout]\n{links}")
    project.write("buildout.cfg", config.replace("parts", "develop = .\nparts"))
    assert "Release 2 is current." in project.buildout("-o", before=ALONE)
    project.write("pyproject.toml", '[build-system]\nrequires = ["nothing-builds"]\n')
    refused = project.buildout("-o", before=ALONE, check=False).splitlines()[-1]
    assert refused == (
        f"Error: [buildout] develop: cannot build {project.folder}: see pip's lines; offline, what "
        f"builds it has to be in {project.folder}/cache/dist"
    )


def test_what_the_project_says_wins_over_the_profile(project):
    project.write(
        "buildout.cfg",
        CONFIG.format(port=project.port).replace("[app]\n", "[app]\n<= common\neggs += six\n")
        + "settings += [app:main]\n\n[common]\nsources = nowhere\n\n[versions]\nwaitress = 3.0.1\n",
    )

    output = project.buildout("install", "app", check=False)

    assert "waitress==3.0.1" in output
    installed = (project.folder / ".installed.cfg").read_text()
    (eggs,) = (part for part in installed.split("\n\n") if part.startswith("[app]"))
    assert [name in eggs for name in ("quill", "PasteScript", "six")] == [True] * 3
    assert "nowhere" not in eggs


def test_runs_at_once_share_eggs_and_a_project_has_one_at_a_time(project, tmp_path):
    home, cache = Path(project.environ["BUILDOUT_HOME"]), project.folder / "cache"
    lines = ["[buildout]", f"download-cache = {cache}", f"eggs-directory = {tmp_path}/eggs"]
    (home / "default.cfg").write_text("\n".join([*lines, ""]))
    other = Project(tmp_path / "other", project.environment, project.environ)
    other.fill()
    # A stock zc.buildout fails if another run makes this folder at the same time.
    (tmp_path / "eggs/v5").mkdir(parents=True)

    runs = [each.starting() for each in (project, other)]
    while not (project.folder / ".pylonyard.lock").exists():
        assert runs[0].poll() is None, runs[0].communicate()
        time.sleep(0.05)
    refused = project.buildout(check=False)

    output = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], output
    assert f"another run is at work in {project.folder}" in refused
    assert "Traceback" not in refused


def test_an_error_is_one_line(project):
    output = project.buildout("site:port=none", check=False)

    assert output.splitlines()[-1].startswith("Error: [site] port: expected")
    assert "Traceback" not in output
    staging = ("site:environment=staging", "site:user=quill")
    output = project.buildout("ini:settings=[app:main]\npassword=x", *staging, check=False)
    page = '"Secrets" in Pylonyard\'s documentation, https://'
    assert re.search(rf"\({re.escape(page)}\S+/docs/secrets.rst\)$", output.rstrip())
    assert not Path(project.folder, "releases").exists()


@pytest.mark.parametrize("name", ["50%", "{quill}"])
def test_path_that_no_sandbox_can_have_is_refused_at_once(empty, name):
    empty.folder = empty.folder.parent / name
    empty.fill()

    output = empty.buildout(check=False).splitlines()

    assert output[-1] == f"buildout: {path_problem(empty.folder)}"
    there = {"buildout.cfg", "quill.ini", "setup.py", "src"}
    assert set(os.listdir(empty.folder)) == there


def test_a_checkout_may_name_the_extension_as_well(checkout):
    site = checkout()
    config = "[buildout]\nextensions = pylonyard\nparts = release\n\n[site]\n"
    config += "name = hello\neggs = Paste\nenvironment = development\nroles = app\n"
    (site.path / "buildout.cfg").write_text(config)

    output = site.bootstrap()

    assert "Release 1 is current." in output.stdout
    assert "recorded digests" not in output.stdout


def shown(page):
    """Return the files that a page shows: name -> text."""
    block = r"``([^` ]+)``:\n\n\.\. code-block:: \w+\n\n((?: {4}.*\n|\n)+)"
    return {name: dedent(text) for name, text in re.findall(block, page)}


def test_a_release_that_requires_its_tests_goes_live_only_if_they_pass(project):
    page = (ROOT / "docs" / "in-your-own-buildout.rst").read_text()
    before, after = map(shown, page.split("\nRun your tests\n"))
    config = before["buildout.cfg"].replace("[app]\nsources = .\n", after.pop("buildout.cfg"))
    (project.folder / "src" / "quill.py").unlink()
    for name, text in {**before, **after, "buildout.cfg": config}.items():
        project.write(name, text)

    assert "Release 1 is current." in project.buildout()
    passed = project.run("bin/quill-test", "-f")
    project.write("quill.py", before["quill.py"].replace("Good", "Bad"))
    output = project.buildout(check=False)
    failed = project.run("bin/quill-test", "test_nowhere", check=False)

    assert "test_it_serves (test_quill.Serves" in passed
    assert passed.endswith("\nOK\n")
    assert "AssertionError: Lists differ: [b'Bad morning." in output
    assert output.splitlines()[-1] == (
        "Error: [app] quill/tests-required: refused by its tests: exit status 1; "
        "what is live stays: FAILED (failures=1)"
    )
    assert os.readlink(project.folder / "current") == "releases/1"
    assert "No module named 'test_nowhere'" in failed


PACKAGE = """
from setuptools import setup

setup(
    name="quill",
    version="1.0",
    packages=["quill"],
    entry_points={"console_scripts": ["say = quill:say", "shout = quill:say"]},
)
"""

SAY = """
import sys

def say(*given):
    print("said", *given, *sys.argv[1:])
    return 3
"""

TESTS = """
import unittest
from quill import say

class Says(unittest.TestCase):
    def test_it_says(self):
        self.assertEqual(say(), 3)
"""

TOGETHER = """
[buildout]
parts = app egg test
find-links = cache/dist
index = file://${buildout:directory}/cache/dist
newest = false
show-picked-versions = false

[options]
eggs = quill
scripts = say=tell shout
entry-points = direct=quill:say
initialization = import quill
arguments = len(quill.__file__) > 0
interpreter = py

[app]
<= options
recipe = pylonyard:pylons_app
name = quill
@OPTION@ = .

[egg]
<= options
recipe = zc.recipe.egg
eggs = ${app:eggs}

[test]
recipe = zc.recipe.testrunner
eggs = ${app:eggs}
"""


def test_other_recipes_find_its_source_trees_and_make_the_same_scripts(project):
    (project.folder / "src" / "quill.py").unlink()
    project.write("setup.py", PACKAGE)
    project.write("quill/__init__.py", SAY)
    project.write("develop-eggs/somebody.egg-link", "/nowhere\n.")
    folders = [project.folder / "bin", project.folder / "parts" / "app" / "quill" / "bin"]

    for option in ("sources", "develop"):
        project.write("quill/tests.py", TESTS)
        project.write("buildout.cfg", TOGETHER.replace("@OPTION@", option))
        project.buildout()

        for folder in folders:
            assert sorted(set(os.listdir(folder)) - {"test"}) == ["py", "shout", "tell"]
            for name in ("shout", "tell"):
                said = subprocess.run([folder / name, "x"], capture_output=True, text=True)
                assert (said.stdout, said.returncode) == ("said True x\n", 3), said.stderr
            assert project.run(folder / "py", "-c", "print(quill.say)").startswith("<function")
        assert "Ran 1 tests with 0 failures" in project.run("bin/test")
        project.write("quill/tests.py", TESTS.replace("3", "4"))
        assert ("1 failures" in project.run("bin/test", check=False)) is (option == "develop")

    alone = TOGETHER.replace("@OPTION@ = .", "").replace("= app egg test", "= app\ndevelop = .")
    project.write("buildout.cfg", alone)
    project.buildout()
    assert project.run(folders[1] / "tell", check=False) == "said True\n"
    project.write("buildout.cfg", "[buildout]\nparts =\n")
    project.buildout()
    left = set(os.listdir(project.folder / "develop-eggs")) - {"__pycache__"}
    assert left == {"somebody.egg-link"}


# What the first run in a project says of it, and of an egg that is not unpacked yet.
FIRST_RUN = re.compile(r"(?m)^(pylonyard: zc.buildout and its tools are|root: Not found:).*\n")

RECIPES = sorted((ROOT / "docs" / "recipes").glob("*.rst"))


@pytest.fixture
def reader(tmp_path, environment, clean_environ):
    """Return a reader in the project of the page "In your own buildout", without network."""
    home, folder = tmp_path / "home", tmp_path / "quill"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "buildout").symlink_to(environment / "bin" / "buildout")
    (folder / "env").symlink_to(environment)
    home.mkdir()
    (home / "default.cfg").write_text(
        f"[buildout]\noffline = true\ndownload-cache = {CACHE}\neggs-directory = {CACHE}/eggs\n"
    )
    pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(CACHE / "dist")}
    site = Checkout(folder, {**clean_environ, **pip, "BUILDOUT_HOME": str(home)})
    made = Reader(site, free_port)
    for step in steps(ROOT / "docs" / "in-your-own-buildout.rst", "By hand"):
        if isinstance(step, File):
            made.write(step)
    site.controls.add("quill")
    yield made
    site.stop_all()


def skip_without(*names):
    """Skip the test where no program has one of these names."""
    if not any(shutil.which(name, path=PROGRAM_PATH) for name in names):
        pytest.skip(f"lacks {names[0]}")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_smallest_section_of_a_recipe_s_page_works(path, reader):
    needed = {"apache_vhost": ("apache2",), "mod_wsgi_build": ("apxs", "apxs2")}.get(path.stem)
    if needed:
        skip_without(*needed)
    paths = [(re.compile(re.escape(str(reader.site.path))), "/srv/quill")]
    ports = [(re.compile(rf"\b{port}\b"), shown) for shown, port in reader.ports.items()]
    for step in steps(path, "The smallest section"):
        if isinstance(step, File):
            reader.write(step)
        else:
            checker = RENormalizing([*paths, *ports, *ANYWHERE, (FIRST_RUN, "")])
            expect_as_shown(step, reader.type(step.line), checker)
            assert reader.status == 0


HOME = """
[buildout]
parts = init

[init]
recipe = pylonyard:init_script
name = quill
environment = development
home = ${buildout:directory}/envs/@NAME@
ini = ${ini:path}
port = @PORT@

[ini]
recipe = pylonyard:production_ini
name = quill
home = ${init:home}
egg = quill
template = quill.ini
port = ${init:port}
"""


def test_home_may_be_any_virtual_environment(project, tmp_path):
    pip = [project.environment / "bin" / "pip", "--quiet"]
    tool = tmp_path / "virtualenv"
    found = ["--find-links", CACHE / "dist"]
    project.run(*pip, "install", "--target", tool, *found, "virtualenv==20.21.1")
    project.environ["PYTHONPATH"] = str(tool)
    makers = {"plain": "venv --without-pip", "others": "virtualenv --quiet --without-pip"}
    for name, maker in makers.items():
        project.run("/usr/bin/python3", "-m", *maker.split(), f"envs/{name}")
    del project.environ["PYTHONPATH"]
    project.run(*pip, "wheel", "--no-index", *found, "--no-deps", "-w", tmp_path, ".")

    for name in makers:
        into = [*pip, "--python", f"envs/{name}", "install", "--no-index", *found]
        needed = [tmp_path / "quill-1.0-py3-none-any.whl", "PasteScript", "setuptools < 82"]
        project.run(*into, *needed, "waitress")
        config = HOME.replace("@NAME@", name).replace("@PORT@", str(project.port))
        project.write("buildout.cfg", config)
        project.buildout("-o", before=ALONE)
        project.run("bin/quill", "start")
        assert project.answer() == "quill"
        project.run("bin/quill", "stop")


def content_of(folder):
    """Return path and content of each file that was made, but not of what runs make."""
    left_out = {"cache", "quill.egg-info"}
    found = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mode)
        for path in found
        if path.relative_to(folder).parts[0] not in left_out
    }


def test_a_project_that_init_or_paster_made_deploys_at_once(empty, tmp_path):
    port = str(empty.port)
    empty.run(empty.environment / "bin" / "pylonyard", "init", "--yes", "--port", port)
    made = content_of(empty.folder)
    pip = [empty.environment / "bin" / "pip", "install", "--quiet", "--no-index", "--target"]
    links = ["--find-links", CACHE / "dist"]
    empty.run(*pip, tmp_path / "paster", *links, "PasteScript", "setuptools < 82")
    empty.environ["PYTHONPATH"] = str(tmp_path / "paster")
    paster = [empty.environment / "bin" / "python", "-W", "ignore", "-c"]
    paster += ["from paste.script.command import run; run()", "create", "-t", "pylonyard"]
    answers = ["--no-interactive", "-o", tmp_path / "by-paster", "quill", f"port={port}"]
    output = empty.run(*paster, *answers)
    refused = empty.run(*paster, *answers[:-2], "class", check=False)
    del empty.environ["PYTHONPATH"]

    assert "  made  buildout.cfg\n" in output
    assert content_of(tmp_path / "by-paster" / "quill") == made
    assert refused.splitlines()[-1] == (
        "name: expected a name that its module can have, got 'class', which is a keyword of "
        "Python; answer with: name=NAME"
    )
    assert not (tmp_path / "by-paster" / "class").exists()

    before = empty.run(empty.environment / "bin" / "pylonyard", "config", "site")
    assert f"# buildout.cfg, line 11\nport = {port}\n" in before
    assert "# profile base.cfg, line " in before
    assert content_of(empty.folder) == made

    assert "Release 1 is current." in empty.buildout("-o", before=ALONE)
    empty.run("bin/quill", "start")
    assert empty.answer() == "Good morning.\n"
    assert empty.run("bin/pylonyard", "config", "site") == before
    doctor = empty.run(empty.environment / "bin" / "pylonyard", "doctor", check=False)
    assert doctor.startswith("quill:\n")


SEVEN = """
[buildout]
extensions = pylonyard mr.developer
parts = account tiny note release after test supervisor
auto-checkout = quillnibs
sources-dir = checkouts
find-links = {dist}
newest = false
show-picked-versions = false

[versions]
collective.recipe.cmd = 1.0.0
collective.recipe.supervisor = 2.0.0
collective.recipe.template = 3.0.0
mr.developer = 3.0.0
six = 1.17.0
supervisor = 4.3.0
zc.recipe.cmmi = 5.1
zc.recipe.deployment = 1.3.0
zc.recipe.testrunner = 5.0
zope.exceptions = 6.0
zope.interface = 8.7
zope.testrunner = 8.3

[sources]
quillnibs = git {folder}/nibs

[site]
name = quill
eggs =
    quill
    quillnibs
port = {port}
environment = development

[app]
sources = .

[ini]
template = quill.ini

[account]
recipe = zc.recipe.deployment
name = quill
user = {user}
etc-user = {user}
prefix = ${{buildout:parts-directory}}/machine

[tiny]
recipe = zc.recipe.cmmi
url = {folder}/tiny-1.0.tar.gz

[note]
recipe = collective.recipe.template
input = note.in
output = note.txt

[after]
recipe = collective.recipe.cmd
on_install = true
on_update = true
cmds = ${{buildout:bin-directory}}/pylonyard releases > parts/told.txt

[test]
recipe = zc.recipe.testrunner
eggs = quill
defaults = ["--tests-pattern", "^quill$"]

[supervisor]
recipe = collective.recipe.supervisor
port = 127.0.0.1:{other}
programs = 10 quill ${{init:control}} [fg] ${{buildout:directory}} true
"""

CONFIGURE = """#!/bin/sh
printf 'all:\\ninstall:\\n\\tmkdir -p %s && echo tiny > %s/tiny\\n' "${1#*=}" "${1#*=}" > Makefile
"""


def make_nibs(folder):
    """Make a repository with a project that another one needs."""
    folder.mkdir()
    (folder / "setup.py").write_text("import setuptools; setuptools.setup(name='quillnibs')")
    for words in ("init -q", "add .", "-c user.name=a -c user.email=a@b.c commit -qm one"):
        subprocess.run(["git", *words.split()], cwd=folder, check=True)


def test_popular_recipes_and_extensions_work_beside_ours(project, clean_environ):
    if not shutil.which("make"):
        pytest.skip("lacks make, which zc.recipe.cmmi runs")
    project.environ = clean_environ  # what is fetched is kept for other runs
    user, folder = pwd.getpwuid(os.geteuid()).pw_name, project.folder
    values = {"port": project.port, "other": free_port(), "user": user}
    project.write("buildout.cfg", SEVEN.format(folder=folder, dist=CACHE / "dist", **values))
    project.write("note.in", "${site:name} logs to ${account:log-directory}\n")
    tests = TESTS.replace("from quill import say", "say = lambda: 3")
    project.write("src/quill.py", MODULE + tests)
    project.write("tiny-1.0/configure", CONFIGURE)
    (folder / "tiny-1.0" / "configure").chmod(0o755)
    project.run("tar", "-czf", "tiny-1.0.tar.gz", "--remove-files", "tiny-1.0")
    make_nibs(folder / "nibs")
    logs = folder / "parts" / "machine" / "var" / "log" / "quill"
    project.write("note.txt", f"quill logs to {logs}\n")  # no run changes the source of the site

    output = project.buildout()
    assert "Release 1 is current." in output
    assert "already imported" not in output

    assert logs.is_dir()
    assert (folder / "note.txt").read_text() == f"quill logs to {logs}\n"
    assert (folder / "parts" / "tiny" / "tiny").read_text() == "tiny\n"
    assert re.search(r"(?m)^\* +1 ", (folder / "parts" / "told.txt").read_text())
    assert "Ran 1 tests with 0 failures" in project.run("bin/test")
    code = "import importlib.metadata as m; m.version('quillnibs')"
    project.run("current/quill/bin/python", "-c", code)
    supervisor = subprocess.Popen([folder / "bin" / "supervisord", "--nodaemon"], cwd=folder)
    try:
        url = f"http://127.0.0.1:{project.port}/"
        curl = ("curl", "-s", "--retry", "120", "--retry-delay", "1", "--retry-connrefused")
        assert project.run(*curl, url) == "quill"
        assert "in the foreground" in project.run("bin/quill", "status")
    finally:
        supervisor.terminate()
        supervisor.wait()
    assert "Release 1 is current; nothing has changed." in project.buildout()

    project.run("bin/pylonyard", "lock", "--offline")
    assert "quillnibs" not in (folder / "profiles" / "pylock.toml").read_text()

    config = (folder / "buildout.cfg").read_text()
    project.write("buildout.cfg", config.replace(" note release", " release"))
    project.buildout()
    assert not (folder / "note.txt").exists()


LOGGING = """
[loggers]
keys = root

[handlers]
keys = console

[formatters]
keys =

[logger_root]
handlers = console

[handler_console]
class = StreamHandler
args = ()
"""

SETTINGS = """
SECRET_KEY = "no secret"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "quill.production"

from django.http import HttpResponse
from django.urls import path

urlpatterns = [path("", lambda request: HttpResponse("quill"))]
"""

OTHERS = {
    "zc.recipe.deployment": {"setup.py": SETUP, "src/quill.py": MODULE},
    "collective.recipe.modwsgi": {
        "setup.py": SETUP.replace("entry", 'install_requires=["PasteDeploy"],\n    entry'),
        "src/quill.py": MODULE,
        "production.ini": f"[app:public]\nuse = egg:quill\n{LOGGING}",
    },
    "djangorecipe": {
        "setup.py": 'from setuptools import setup\n\nsetup(name="quill", packages=["quill"])\n',
        "quill/__init__.py": "",
        "quill/production.py": SETTINGS,
    },
}
"""The projects of the page on moving: recipe -> files of theirs that the page does not show."""

CALL = """
import runpy, sys
from wsgiref.util import setup_testing_defaults
setup_testing_defaults(environ := {})
print(b"".join(runpy.run_path(sys.argv[1])["application"](environ, lambda *_: None)).decode())
"""


def moves(recipe, port):
    """Return the files of the page on moving, before and after: name -> text."""
    page = (ROOT / "docs" / "moving.rst").read_text().replace("8080", str(port))
    section = re.split(r"(?m)^-{5,}\n", page.partition(f"\n{recipe}\n")[2])[1]
    before, after = map(shown, section.split("\nAfter, in "))
    if "setup.py" in after:  # the page shows what to add
        call = 'from setuptools import setup\n\nsetup(name="quill", packages=["quill"],\n{})\n'
        after["setup.py"] = call.format(after["setup.py"])
    return before, after


def to_try(config, port):
    """Return a configuration as the page says to write it first."""
    kept = re.sub(r"(?m)^(user|mode|port) = .*\n", "", config)
    return kept.replace("[site]\n", f"[site]\nenvironment = development\nport = {port}\n")


def served(recipe, old, machine):
    """Return what the old deployment answers, by the command that its server would use."""
    if recipe == "zc.recipe.deployment":
        ini = machine / "etc" / "quill" / "quill.ini"
        with subprocess.Popen([old.folder / "bin" / "paster", "serve", ini]) as server:
            try:
                retry = ["--retry", "120", "--retry-delay", "1", "--retry-connrefused"]
                return old.run("curl", "-s", *retry, f"http://127.0.0.1:{old.port}/")
            finally:
                server.terminate()
    script = "bin/django.wsgi" if recipe == "djangorecipe" else "parts/wsgi/wsgi"
    return old.run(old.environment / "bin" / "python", "-c", CALL, script).strip()


@pytest.fixture
def short_folder():
    """Return a folder whose path is short enough for the sockets of mod_wsgi."""
    with tempfile.TemporaryDirectory(prefix="py", dir="/tmp") as folder:
        yield Path(folder)


@pytest.mark.parametrize("recipe", OTHERS)
def test_a_project_moves_from_another_recipe_as_its_page_says(
    recipe, project, tmp_path, short_folder
):
    skip_without("apache2")  # which judges the site file of its release
    if recipe != "zc.recipe.deployment":
        skip_without("apxs", "apxs2")
    (tmp_path / "home" / "default.cfg").write_text(
        f"[buildout]\ndownload-cache = {CACHE}\neggs-directory = {CACHE}/eggs\n"
    )
    old = Project(tmp_path / "old", project.environment, project.environ)
    before, after = moves(recipe, old.port)
    for name, text in {**OTHERS[recipe], **before}.items():
        old.write(name, text)
    user = pwd.getpwuid(os.geteuid()).pw_name
    own = [f"deployment:prefix={tmp_path}/machine", f"deployment:user={user}"]
    old.buildout(*own, f"deployment:etc-user={user}")
    assert served(recipe, old, tmp_path / "machine") == "quill"
    was = content_of(old.folder)

    shutil.rmtree(project.folder)
    live = Project(short_folder, project.environment, project.environ)
    for name, text in {**OTHERS[recipe], **after}.items():
        project.write(name, text)
        live.write(name, text)
    project.write("buildout.cfg", to_try(after["buildout.cfg"], project.port))
    project.buildout()
    project.run("bin/quill", "start")
    assert project.answer() == "quill"
    project.run("bin/quill", "stop")
    output = live.buildout()

    assert "Release 1 is current." in output
    assert "bin/pylonyard activate   has this machine serve it" in output
    assert content_of(old.folder) == was
    etc = live.folder / "current" / "etc"
    host = (etc / "apache2" / "sites-available" / "quill.conf").read_text()
    if recipe == "zc.recipe.deployment":
        assert f"http://127.0.0.1:{old.port}/" in host
        for folder in ("cron.d", "init.d", "logrotate.d"):
            assert (etc / folder / "quill").is_file()
        return
    assert "\n    WSGIDaemonProcess quill " in host
    (live.folder / "var" / "log").mkdir(parents=True)  # as an activation does
    script = "current/quill/dispatch.wsgi"
    assert live.run("current/quill/env/bin/python", "-c", CALL, script).strip() == "quill"
    if recipe == "djangorecipe":
        for folder in (old.folder, live.folder / "current" / "quill"):
            assert "no issues" in project.run(folder / "bin" / "django", "check")


def test_another_python_serves_a_project_with_the_pins_that_buildout_brings(project):
    # zc.buildout pins itself, by ">=".
    python = other_python(("python3.13", "python3.12", "python3.10"))

    output = project.buildout(f"app:python={python}", "versions:quill=1.0")

    assert "Release 1 is current." in output
    project.run("bin/quill", "start")
    assert project.answer() == "quill"


HATCHLING = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "quill"
version = "1.0"

[project.entry-points."paste.app_factory"]
main = "quill:main"

[tool.hatch.build.targets.wheel]
only-include = ["src/quill.py"]
sources = ["src"]
"""


def test_a_bundle_deploys_where_there_is_no_network(project, distributions, tmp_path):
    # What builds the application comes along.
    (project.folder / "setup.py").unlink()
    project.write("pyproject.toml", HATCHLING)
    project.buildout("app:lock=profiles/pylock.toml")
    project.run("bin/pylonyard", "lock")
    assert 'dependency-groups = ["build"]' in (project.folder / "profiles/pylock.toml").read_text()
    project.buildout("app:lock=profiles/pylock.toml")
    bundle = ("bin/pylonyard", "bundle", tmp_path / "quill.tar.gz")
    (fetch,) = re.findall("with: (bin/pylonyard fetch .*)", project.run(*bundle, check=False))
    project.run(*shlex.split(fetch), "--find-links", distributions)

    output = project.run(*bundle)

    commands = output.partition("Elsewhere: ")[2].splitlines()[0]
    assert commands.startswith("tar -xf quill.tar.gz && cd quill && python3 -m venv env && ")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.move(tmp_path / "quill.tar.gz", elsewhere)
    script = f"cd {elsewhere} && {commands}"
    deployed = project.run(*ALONE, "sh", "-ec", script)
    assert "Release 1 is current." in deployed
    project.folder = elsewhere / "quill"
    project.run("bin/quill", "start")
    assert project.answer() == "quill"


@pytest.fixture
def vendored(project):
    """Return the project with a checkout of Pylonyard in a folder of its own."""
    ours = project.folder / "vendor" / "pylonyard"
    for name in ("recipes", "profiles", "docs"):
        leaving = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, ours / name, ignore=leaving)
    for name in ("bootstrap.py", "setup.py", "README.md", "CHANGES", "LICENSE"):
        shutil.copy(ROOT / name, ours)
    return project


def test_a_checkout_in_a_folder_of_the_project_makes_all_in_the_project(vendored, tmp_path):
    ours = vendored.folder / "vendor" / "pylonyard"
    before = set(ours.iterdir())
    command = ("/usr/bin/python3", "vendor/pylonyard/bootstrap.py", "--offline")

    output = vendored.run(*command, "-c", "buildout.cfg", "app:lock=profiles/pylock.toml")

    assert "Release 1 of buildout.cfg is current." in output
    assert set(ours.iterdir()) == before
    vendored.run("bin/buildout", "app:lock=profiles/pylock.toml")
    refused = vendored.run("bin/buildout", "bootstrap", check=False)
    assert "to make it again: python3 vendor/pylonyard/bootstrap.py; see" in refused
    again = vendored.run("bin/buildout", "app:lock=profiles/pylock.toml")
    assert again.startswith("pylonyard: Release 1 is current; nothing has changed.")
    vendored.run("bin/pylonyard", "lock")
    vendored.run("bin/buildout", "app:lock=profiles/pylock.toml")
    bundled = vendored.run("bin/pylonyard", "bundle", tmp_path / "quill.tar.gz")
    assert "cd quill && python3 vendor/pylonyard/bootstrap.py --offline" in bundled
    shutil.rmtree(vendored.folder)
    vendored.run(*ALONE, "tar", "-xf", "quill.tar.gz", cwd=tmp_path)
    vendored.run(*ALONE, *command)
    vendored.run("bin/quill", "start")
    assert vendored.answer() == "quill"


def test_stock_buildout_may_have_it_from_a_folder_by_develop(vendored):
    config = CONFIG.format(port=vendored.port).replace(
        "extensions = pylonyard",
        "extends = vendor/pylonyard/profiles/base.cfg\ndevelop = vendor/pylonyard",
    )
    vendored.write("buildout.cfg", config)

    assert "Release 1 is current." in vendored.buildout()

    vendored.run("bin/quill", "start")
    assert vendored.answer() == "quill"
    assert "locks" in vendored.run("bin/pylonyard", "lock")
