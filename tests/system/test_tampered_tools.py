"""None of our scripts runs tools, or their environment, that somebody has changed."""

import marshal
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import pytest
from checkouts import CACHE, Checkout, copy_checkout
from pylonyard.environments.eggs_venv import site_packages

pytestmark = pytest.mark.system

CODE = "packaging/__init__.py"
CODE_OF_DOCTOR = "configupdater/__init__.py"  # It reads an ini.


@dataclass
class Tools:
    """A checkout with a release, whose cache is its own."""

    checkout: Checkout
    cache: Path
    mark: Path
    pristine: Path
    places: dict[str, Path] = field(default_factory=dict)

    def home(self, script: str = "buildout") -> Path:
        """The environment of the tools that ``bin/<script>`` uses."""
        text = (self.checkout.path / "bin" / script).read_text()
        return next(path for path in (self.cache / "sandboxes").iterdir() if path.name in text)

    def egg(self, name: str) -> Path:
        return next((self.cache / "eggs").glob(f"v5/*/{name}-*.egg"))

    def evil(self) -> str:
        return f"open({str(self.mark)!r}, 'w').close()\n"

    def kept(self) -> list[Path]:
        """All that is tampered with."""
        wheels = [*self.cache.glob("dist/packaging-*"), *self.cache.glob("dist/ConfigUpdater-*")]
        return [
            self.home(),
            self.home("test"),
            self.egg("packaging"),
            self.egg("ConfigUpdater"),
            *wheels,
        ]

    def reset(self) -> None:
        """Make all good again."""
        for copy in self.pristine.iterdir():
            place = self.places[copy.name]
            subprocess.run(["rm", "-rf", place], check=True)
            subprocess.run(["cp", "-a", copy, place], check=True)
        for name in ("refused", "elsewhere"):
            shutil.rmtree(self.cache / name, ignore_errors=True)
        self.mark.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory, clean_environ, free_port):
    folder = tmp_path_factory.mktemp("tools")
    cache = folder / "cache"
    (cache / "dist").mkdir(parents=True)
    for path in (CACHE / "dist").glob("*.whl"):
        shutil.copy2(path, cache / "dist")
    (folder / "default.cfg").write_text(
        f"[buildout]\ndownload-cache = {cache}\neggs-directory = {cache}/eggs\n"
    )
    copy_checkout(folder / "checkout")
    site = Checkout(folder / "checkout", {**clean_environ, "BUILDOUT_HOME": str(folder)})
    site.bootstrap("--offline", f"site:port={free_port()}")
    site.bootstrap("test", "--offline", "--version")
    made = Tools(site, cache, folder / "mark", folder / "pristine")
    made.pristine.mkdir()
    for path in made.kept():
        made.places[path.name] = path
        subprocess.run(["cp", "-a", path, made.pristine], check=True)
    return made


@pytest.fixture
def tools(made):
    yield made
    made.reset()


def changed_code(tools, egg, code):
    path = egg / code
    path.write_text(path.read_text() + "\n" + tools.evil())
    return path


def changed_bytecode(tools, egg, code):
    path = egg / code
    (bytecode,) = path.parent.glob(f"__pycache__/{path.stem}.*.pyc")
    held = compile(path.read_text() + "\n" + tools.evil(), str(path), "exec")
    bytecode.write_bytes(bytecode.read_bytes()[:16] + marshal.dumps(held))
    return None  # It is made anew, of the source.


def edited_record(tools, egg, code):
    (record,) = egg.glob("*.dist-info/RECORD")
    lines = record.read_text().splitlines(keepends=True)
    record.write_text("".join(line for line in lines if not line.startswith(code)))
    return changed_code(tools, egg, code)


def added(name, text="import os; {evil}"):
    def tamper(tools, egg, code):
        path = egg / name
        path.write_text(text.format(evil=tools.evil()))
        return path

    tamper.__name__ = f"extra {name}"
    return tamper


def replaced_package(tools, egg, code):
    package = (egg / code).parent
    package.rename(tools.cache / "elsewhere")
    (tools.cache / "elsewhere" / "__init__.py").write_text(tools.evil())
    package.symlink_to(tools.cache / "elsewhere")
    return egg / code


def wheel_as_well(tools, egg, code):
    for wheel in (tools.cache / "dist").glob(f"{egg.name.partition('-')[0]}-*.whl"):
        wheel.write_bytes(wheel.read_bytes() + b"more")
    changed_code(tools, egg, code)
    return egg


OF_EGGS = [
    changed_code,
    changed_bytecode,
    edited_record,
    added("sitecustomize.py"),
    added("evil.pth"),
    replaced_package,
    wheel_as_well,
]


def put_in(name, text="import os; {evil}"):
    def tamper(tools, home):
        path = site_packages(home) / name
        path.write_text(text.format(evil=tools.evil()))
        return path

    tamper.__name__ = f"sandbox {name}"
    return tamper


def edited_pth(tools, home):
    path = site_packages(home) / "pylonyard.pth"
    path.write_text(f"import os; {tools.evil()}{path.read_text()}")
    return path


def other_library(tools, home):
    version = "python{}.{}".format(*sys.version_info)
    library = tools.cache / "elsewhere" / "lib" / version / "encodings"
    library.mkdir(parents=True)
    (library.parent / "os.py").write_text("")
    evil = f"import posix\nposix.open({str(tools.mark)!r}, posix.O_CREAT | posix.O_WRONLY)\n"
    (library / "__init__.py").write_text(evil)
    path = home / "pyvenv.cfg"
    path.write_text(f"home = {tools.cache}/elsewhere/bin\n")
    return path


def other_interpreter(tools, home):
    path = home / "bin" / "python"
    path.unlink()
    path.write_text(f"#!/bin/sh\n: > '{tools.mark}'\n")
    path.chmod(0o755)
    return path


OF_SANDBOX = [
    put_in("evil.pth"),
    put_in("sitecustomize.py"),
    edited_pth,
    other_library,
    other_interpreter,
]

BRINGING = {
    "buildout": ["bin/buildout", "-o", "site:port=8099", "ini:setup=false"],
    "pylonyard cache": ["bin/pylonyard", "cache"],
    "pylonyard lock": ["bin/pylonyard", "lock", "--offline", "--file", "scratch.toml"],
    "pylonyard doctor": ["bin/pylonyard", "doctor"],
    "test": ["bin/test", "--version"],
}
NEEDING_NONE = {
    "site": (["bin/simplesite", "status"], 3),
    "httpd": (["bin/simplesite-httpd", "status"], 3),
    "pylonyard releases": (["bin/pylonyard", "releases"], 0),
}


def target(tools, script):
    doctor = script == "pylonyard doctor"
    return (
        (tools.egg("ConfigUpdater"), CODE_OF_DOCTOR) if doctor else (tools.egg("packaging"), CODE)
    )


def refusal(script, message):
    """Return why a script refuses its tools; the doctor finds that, and goes on without."""
    if script == "pylonyard doctor":
        (line,) = [each for each in message.splitlines() if each.startswith("FAIL  tools ")]
        return line.removeprefix("FAIL  tools").strip()
    (line,) = message.splitlines()
    return line.removeprefix(f"{Path(BRINGING[script][0]).name}: ")


@pytest.mark.parametrize("script", BRINGING)
@pytest.mark.parametrize("tamper", OF_EGGS, ids=lambda tamper: tamper.__name__)
def test_tampered_egg_of_the_tools_is_refused_before_it_runs(tools, script, tamper):
    named = tamper(tools, *target(tools, script))

    ended = tools.checkout.run(*BRINGING[script], check=False)

    assert not tools.mark.exists(), "it ran"
    assert "Traceback" not in ended.stdout
    if named:
        assert ended.returncode == 1, ended.stdout
        assert refusal(script, ended.stdout).startswith(f"{named}: expected ")
        assert "run: python3 bootstrap.py" in ended.stdout or script == "pylonyard doctor"
    else:
        assert "moved to" not in ended.stdout


@pytest.mark.parametrize("script", BRINGING)
@pytest.mark.parametrize("tamper", OF_SANDBOX, ids=lambda tamper: tamper.__name__)
def test_tampered_environment_of_the_tools_is_refused_before_it_runs(tools, script, tamper):
    named = tamper(tools, tools.home(Path(BRINGING[script][0]).name))

    ended = tools.checkout.run(*BRINGING[script], check=False)

    assert not tools.mark.exists(), "it ran"
    assert ended.returncode == 1, ended.stdout
    assert refusal(script, ended.stdout).startswith(f"{named}: expected ")


@pytest.mark.parametrize("script", NEEDING_NONE)
def test_script_that_needs_no_tools_runs_none(tools, script):
    tamper_with_all(tools)

    ended = tools.checkout.run(*NEEDING_NONE[script][0], check=False)

    assert not tools.mark.exists(), "it ran"
    assert ended.returncode == NEEDING_NONE[script][1], ended.stdout


def test_site_is_served_without_the_tools(tools):
    tamper_with_all(tools)

    try:
        output = tools.checkout.control("simplesite", "start")
    finally:
        tools.checkout.stop_all()

    assert "simplesite" in output
    assert not tools.mark.exists(), "it ran"


def runs_by_itself(tamper):
    """Return whether Python would run it; Debian's has a sitecustomize of its own, found first."""
    return "sitecustomize" not in tamper.__name__ or not find_spec("sitecustomize")


@pytest.mark.parametrize(
    "tamper",
    [case for case in [*OF_EGGS, *OF_SANDBOX] if runs_by_itself(case)],
    ids=lambda tamper: tamper.__name__,
)
def test_unverified_it_would_have_run(tools, tamper):
    # So the marks of the other tests would show.
    if tamper in OF_EGGS:
        tamper(tools, tools.egg("packaging"), CODE)
    else:
        tamper(tools, tools.home())
    code = f"import site; site.addsitedir({str(tools.egg('packaging'))!r}); import packaging"

    python = tools.home() / "bin" / "python"
    subprocess.run([python, "-c", code], stderr=subprocess.DEVNULL)

    assert tools.mark.exists()


def test_bootstrap_mends_what_was_tampered_with(tools):
    changed_code(tools, tools.egg("packaging"), CODE)
    edited_pth(tools, tools.home())

    words = ["--offline", "buildout:parts="]
    ended = [tools.checkout.bootstrap(*words, check=False).returncode for _ in range(3)]

    assert ended == [1, 1, 0], "each names one"
    tools.checkout.run("bin/pylonyard", "cache")
    assert not tools.mark.exists(), "it ran"


def tamper_with_all(tools):
    """Tamper with what is the tools' alone: packaging is an egg of the site as well."""
    for tamper in (changed_code, added("sitecustomize.py"), added("evil.pth")):
        tamper(tools, tools.egg("ConfigUpdater"), CODE_OF_DOCTOR)
    for tamper in OF_SANDBOX:
        tamper(tools, tools.home())


def test_account_that_may_only_read_the_cache_is_reported_as_well(public_checkout, tmp_path):
    site = public_checkout()
    site.bootstrap("--offline", "ini:setup=false")
    doctor = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "env", "-i"]
    doctor += [f"PATH={site.environ['PATH']}", "bin/pylonyard", "doctor", "--all"]
    examined = site.run(*doctor, check=False).stdout
    egg = next((site.path.parent / "cache" / "eggs").glob("v5/*/ConfigUpdater-*.egg"))
    path = egg / CODE_OF_DOCTOR
    path.write_text(f"{path.read_text()}\nprint('it ran')\n")

    output = site.run(*doctor, check=False).stdout

    assert "account" in examined
    assert refusal("pylonyard doctor", output).startswith(
        f"{path}: expected what ConfigUpdater-3.2-py2.py3-none-any.whl holds, got "
        "other content; it stays, since we may not move it"
    )
    assert "it ran" not in output
    assert site.bootstrap("--offline", check=False).returncode == 1
    assert "it ran" not in site.bootstrap("--offline").stdout, "root has put a good one there"
