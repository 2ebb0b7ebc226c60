"""Applications of several frameworks, each deployed by what its profile says to copy."""

import json
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.cookiejar import CookieJar
from pathlib import Path

import pytest
from checkouts import CACHE, ROOT, Checkout, copy_checkout, fetch
from interpreters_for_all import other_python
from support import make_wheel

pytestmark = pytest.mark.system

APPS = ROOT / "tests" / "apps"
# These tests need no Apache; the virtual host is checked where there is one.
UNCHECKED = "release:unchecked=allow"


@dataclass(frozen=True)
class Case:
    """An application, the profile that deploys it, and on which Python."""

    profile: str
    site: str
    pythons: tuple[str, ...] = ()
    """Commands of other interpreters, of which the first found is used."""


CASES = {
    "Pylons": Case("pylons-1.0", "helloworld", ("python2.7",)),
    "TurboGears": Case("turbogears-2.5", "guestbook"),
    "Pyramid": Case("pyramid-2", "starter"),
    "Pyramid on another Python": Case("pyramid-2", "starter", ("python3.13", "python3.12")),
}


@dataclass(frozen=True)
class Deployed:
    """A checkout whose site is up."""

    case: Case
    checkout: Checkout
    python: str
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def options(self) -> list[str]:
        """What a command line adds to the copied buildout.cfg."""
        python = [f"app:python={self.python}"] if self.case.site == "starter" else []
        return [f"site:port={self.port}", UNCHECKED, *python]

    @property
    def sandbox(self) -> Path:
        return self._live("env").resolve()

    def _live(self, name: str) -> Path:
        return self.checkout.path / "current" / self.case.site / name

    def asked(self, statement: str) -> object:
        """Return what the application's own Python makes of a statement, as JSON."""
        output = self.checkout.run(self._live("bin/python"), "-c", f"import json, sys; {statement}")
        return json.loads(output.stdout)


def copied(profile: str) -> str:
    """Return the buildout.cfg that the head of a profile says to copy."""
    lines = (ROOT / "profiles" / f"{profile}.cfg").read_text().splitlines()
    first = lines.index("#   [buildout]")
    last = next(n for n in range(first, len(lines)) if lines[n][:4] not in ("#   ", "#"))
    return "\n".join(line[4:] for line in lines[first:last]) + "\n"


def made_with_paster(checkout: Checkout) -> None:
    """Have the sandbox's own paster make an application, then add a page to it."""
    (checkout.path / "paster.cfg").write_text(
        "[buildout]\nextends = profiles/pylons-1.0.cfg\n\n"
        "[site]\nname = helloworld\neggs = Pylons\nroles = app\n"
    )
    checkout.bootstrap("-c", "paster.cfg")
    paster = [checkout.path / "current/helloworld/bin/paster", "create", "-t", "pylons"]
    chosen = ["template_engine=mako", "sqlalchemy=True"]
    checkout.run(*paster, "-o", "src", "--no-interactive", "helloworld", *chosen)
    shutil.copytree(APPS / "helloworld", checkout.path / "src/helloworld", dirs_exist_ok=True)


def fresh(folder: Path, case: Case, environ: dict[str, str]) -> Checkout:
    """Make a checkout with the buildout.cfg that is to be copied."""
    copy_checkout(folder)
    (folder / "buildout.cfg").write_text(copied(case.profile))
    return Checkout(folder, environ)


@pytest.fixture(scope="module")
def deployed(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    clean_environ: dict[str, str],
    free_port: Callable[[], int],
) -> Iterator[Deployed]:
    case = CASES[request.param]
    python = other_python(case.pythons) if case.pythons else ""
    checkout = fresh(tmp_path_factory.mktemp(case.site) / "checkout", case, clean_environ)
    if case.site == "helloworld":
        made_with_paster(checkout)
    else:
        shutil.copytree(APPS / case.site, checkout.path / "src" / case.site)
    site = Deployed(case, checkout, python, free_port())
    # It would go on with the one that began the application.
    checkout.bootstrap("-c", "buildout.cfg", *site.options)
    checkout.control(case.site, "start")
    yield site
    checkout.stop_all()


def on(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("deployed", names, indirect=True, scope="module")


class Browser:
    """A browser that keeps cookies."""

    def __init__(self, site: Deployed) -> None:
        self._site = site
        jar = urllib.request.HTTPCookieProcessor(CookieJar())
        self._opener = urllib.request.build_opener(jar)

    def sees(self, path: str) -> str:
        with self._opener.open(self._site.url + path, timeout=30) as answer:
            return answer.read().decode()


@on("Pylons")
def test_pylons_serves_what_paster_create_made(deployed):
    browser = Browser(deployed)

    assert "<title>Welcome to Pylons!</title>" in browser.sees("")
    assert "<p>1 of yours, 1 in all; debug is False</p>" in browser.sees("visits/index")
    assert "<p>2 of yours, 2 in all; debug is False</p>" in browser.sees("visits/index")
    assert "<p>1 of yours, 3 in all; debug is False</p>" in Browser(deployed).sees("visits/index")
    assert deployed.asked("print(json.dumps(sys.version_info[:2]))") == [2, 7]


@on("TurboGears")
def test_turbogears_keeps_sessions_and_transactions(deployed):
    browser = Browser(deployed)

    assert "<p>Visit 1</p>" in browser.sees("")
    assert "<li>Välkommen</li>" in browser.sees("")
    assert "<p>Visit 3</p>" in browser.sees("sign?text=Hello")
    assert json.loads(Browser(deployed).sees("entries")) == {"entries": ["Välkommen", "Hello"]}


@on("Pyramid", "Pyramid on another Python")
def test_pyramid_serves_a_cookiecutter_s_project(deployed):
    series = ".".join(map(str, deployed.asked("print(json.dumps(sys.version_info[:2]))")))

    status, page = fetch(deployed.url)
    assert (status, f"<p>Python {series}</p>" in page) == (200, True)
    assert fetch(deployed.url + "static/theme.css")[0] == 200
    status, page = fetch(deployed.url + "nowhere")
    assert (status, "404 Page Not Found" in page) == (404, True)
    output = json.loads(fetch(deployed.url + "settings")[1])
    assert output["pyramid.default_locale_name"] == "en"
    assert "pyramid.includes" not in output


@on("Pyramid")
def test_the_ini_of_a_project_loses_its_own_address_and_keeps_its_loggers(deployed):
    fetch(deployed.url)
    path = deployed.checkout.path

    ini = (path / "current/starter/production.ini").read_text()
    server = ini.partition("[server:main]\n")[2].partition("\n\n")[0]
    assert server.splitlines() == [
        "use = egg:waitress#main",
        "host = 127.0.0.1",
        f"port = {deployed.port}",
        "threads = 4",
        "trusted_proxy = 127.0.0.1",
        "trusted_proxy_headers = x-forwarded-for x-forwarded-proto",
        "max_request_body_size = 10485761",
    ]
    assert "[starter.views.default:11][waitress-" in (path / "var/log/starter.log").read_text()


@on("Pylons", "TurboGears")
def test_setup_app_runs_once_for_a_database(deployed):
    folder = deployed.checkout.path / "var/setup"
    (before,) = [(path.name, path.stat().st_mtime_ns) for path in folder.iterdir()]

    deployed.checkout.buildout(*deployed.options)

    assert [(path.name, path.stat().st_mtime_ns) for path in folder.iterdir()] == [before]
    if deployed.case.site == "guestbook":
        assert fetch(deployed.url + "entries")[1].count("lkommen") == 1


@on("Pyramid")
def test_an_application_without_an_installer_has_no_setup_app_to_run(deployed):
    assert not (deployed.checkout.path / "var/setup").exists()


@on(*CASES)
def test_a_second_run_changes_nothing(deployed):
    output = deployed.checkout.buildout(*deployed.options).stdout

    number = deployed.checkout.path.joinpath("current").resolve().name
    assert f"pylonyard: Release {number} is current; nothing has changed." in output


@on(*CASES)
def test_the_environment_sees_none_of_the_machine_s_packages(deployed):
    paths = deployed.asked("print(json.dumps(sys.path))")

    packages = [path for path in paths if "-packages" in path or path.endswith(".egg")]
    assert packages
    assert [path for path in packages if not path.startswith(f"{CACHE}/")] == []


@on(*CASES)
def test_a_second_checkout_builds_no_environment(deployed, tmp_path, free_port):
    case, site = deployed.case, deployed.case.site
    before = deployed.sandbox.stat()
    second = fresh(tmp_path / "second", case, deployed.checkout.environ)
    shutil.copytree(deployed.checkout.path / "src" / site, second.path / "src" / site)

    output = second.bootstrap(*deployed.options, f"site:port={free_port()}").stdout

    assert "Making a sandbox" not in output
    assert (second.path / "current" / site / "env").resolve() == deployed.sandbox
    after = deployed.sandbox.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@on("Pyramid")
def test_a_newer_project_of_the_same_name_is_not_taken(deployed, tmp_path):
    make_wheel(tmp_path, "starter", "9.0")

    offered = [f"buildout:find-links={tmp_path}", "buildout:newest=true"]
    output = deployed.checkout.buildout(*deployed.options, *offered).stdout

    assert "nothing has changed." in output


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory, clean_environ: dict[str, str]) -> Checkout:
    case = CASES["Pyramid"]
    checkout = fresh(tmp_path_factory.mktemp("errors") / "checkout", case, clean_environ)
    shutil.copytree(APPS / "starter", checkout.path / "src/starter")
    unpinned = "extends = profiles/pyramid-2.cfg\nallow-picked-versions = false"
    loose = copied("pyramid-2").replace("extends = profiles/pyramid-2.cfg", unpinned)
    # An upper bound, so that the message stays the same whatever comes out.
    loose = loose.replace("eggs = starter", "eggs =\n    starter\n    six >= 1.17.0, <= 1.17.0")
    (checkout.path / "loose.cfg").write_text(loose)
    return checkout


def refusal(checkout: Checkout, *words: str) -> str:
    """Return the one line that says why a run failed."""
    finished = checkout.bootstrap(*words, UNCHECKED, check=False)
    assert finished.returncode == 1, finished.stdout
    assert "Traceback" not in finished.stdout
    return finished.stdout.splitlines()[-1]


def test_missing_interpreter_is_named(starter):
    assert refusal(starter, "app:python=python9.9") == (
        "Error: [app] python: expected an interpreter of this machine, got 'python9.9'; "
        "install it, or name its path"
    )


def test_pin_that_cannot_be_had_is_named(starter):
    output = refusal(starter, "pyramid-2:venusian=99.9")
    assert output.startswith(
        "Error: [app] eggs: cannot get venusian==99.9 ([pyramid-2] venusian = 99.9), which "
    )
    assert " -> pyramid 2.1 needs: there is only venusian " in output


def test_pin_that_cannot_be_had_on_another_python_is_named(starter):
    python = other_python(("python3.13", "python3.12"))

    told = refusal(starter, "pyramid-2:venusian=99.9", f"app:python={python}")
    assert told.startswith(
        "Error: [app] eggs: cannot get venusian==99.9 ([pyramid-2] venusian = 99.9), which "
    )


def test_missing_pin_is_named_where_none_may_be_picked(starter):
    assert refusal(starter, "-c", "loose.cfg") == (
        "Error: [app] eggs: six has no pin, and allow-picked-versions is false; the newest that "
        "fits is 1.17.0: write six = 1.17.0 below [versions] of your configuration"
    )


def test_missing_pin_on_another_python_is_named(starter):
    python = other_python(("python3.13", "python3.12"))

    assert refusal(starter, "-c", "loose.cfg", f"app:python={python}") == (
        "Error: [app] eggs: six has no pin, and allow-picked-versions is false; the newest that "
        "fits is 1.17.0: write six = 1.17.0 below [versions] of your configuration"
    )
