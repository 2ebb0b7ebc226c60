"""What was tampered with never runs: eleven ways, in each place a distribution comes from."""

import functools
import marshal
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import support
from packaging.utils import canonicalize_name
from pylonyard.packages.lock import pylock
from pylonyard.packages.wheels import sha256

pytestmark = pytest.mark.system

TARGET = "Shop_Loader-1.0-py3-none-any.whl"
OTHER = "Shop-1.0-py3-none-any.whl"
INFO = "Shop_Loader-1.0.dist-info"
CODE = "paste/deploy/loadwsgi.py"  # It runs in each release's check of the ini.
RECIPES = support.CHECKOUT / "recipes"
LOCKED = "[app]\nlock = pylock.toml\n"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@dataclass
class Site:
    """A sandbox with a release, all of it good; ``place`` is where the tampering happens."""

    sandbox: support.Sandbox
    place: str
    pristine: Path
    mark: Path

    @property
    def store(self):
        return self.sandbox.store

    @property
    def cache(self):
        return self.store / "cache"

    @property
    def wheels(self):
        """The folder of the wheels that are tampered with."""
        return {
            "index": self.store / "served" / "files",
            "find-links": self.store / "wheels",
            "download cache": self.cache / "dist",
            "installed egg": self.cache / "dist",
        }[self.place]

    @property
    def egg(self):
        (egg,) = (self.store / "eggs").glob("**/Shop_Loader-*.egg")
        return egg

    def lock(self):
        packages = [
            pylock.Locked(
                name=canonicalize_name(wheel.name.partition("-")[0]),
                version="1.0",
                wheels={wheel.name: sha256(wheel)},
            )
            for wheel in self.pristine.iterdir()
        ]
        return self.sandbox.directory.joinpath("pylock.toml"), pylock.text(packages, "wheels")

    def reset(self):
        """Make all good again."""
        for folder in (self.wheels, self.cache / "dist"):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        for wheel in self.pristine.iterdir():
            shutil.copy(wheel, self.wheels)
        for folder in (self.store / "eggs", self.cache / "refused"):
            shutil.rmtree(folder, ignore_errors=True)
        path, text = self.lock()
        path.write_text(text)
        if self.place == "installed egg":
            status, output = self.run()
            assert status == 0, output
        self.mark.unlink(missing_ok=True)

    def run(self, *words):
        """Run ``bin/buildout``; return its exit status and what it printed."""
        finished = subprocess.run(
            [self.sandbox.directory / "bin" / "buildout", *words],
            cwd=self.sandbox.directory,
            env={"PATH": os.defpath, "BUILDOUT_HOME": str(self.store), "HOME": str(self.store)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return finished.returncode, finished.stdout

    def released(self):
        """Return every byte that is released."""
        directory = self.sandbox.directory
        found = {"current": os.readlink(directory / "current")}
        for path in (directory / "releases").rglob("*"):
            if path.is_symlink():
                found[path] = os.readlink(path)
            elif path.is_file():
                found[path] = path.read_bytes()
        return found


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Give a function that serves a folder over HTTP, and returns the URL."""
    servers = []

    def serve(folder):
        handler = functools.partial(Quiet, directory=str(folder))
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


FETCHED = ["index", "find-links", "download cache"]
INSTALLED = ["installed egg"]


@pytest.fixture(scope="module", params=[*FETCHED, *INSTALLED])
def whole(request, tmp_path_factory, served):
    folder = tmp_path_factory.mktemp("tampering")
    store = support.make_store(folder / "store")
    pristine = shutil.copytree(store / "wheels", folder / "pristine")
    sandbox = support.Sandbox(folder / "sandbox", store)
    site = Site(sandbox, request.param, pristine, folder / "mark")
    text = LOCKED
    if request.param == "index":
        for name in ("shop", "shop-loader"):
            page = store / "served" / "simple" / name / "index.html"
            page.parent.mkdir(parents=True)
            links = (f'<a href="../../files/{n}">{n}</a>\n' for n in (TARGET, OTHER))
            page.write_text("".join(links))
        (store / "served" / "files").mkdir()
        text += f"[buildout]\nindex = {served(store / 'served')}/simple\nfind-links =\n"
    if request.param == "download cache":
        text += "[buildout]\nfind-links =\n"
    config = site.sandbox.config.replace("show-picked-versions = false", "", 1)
    (site.sandbox.directory / "buildout.cfg").write_text(merged(config, text))
    script = site.sandbox.directory / "bin" / "buildout"
    script.parent.mkdir()
    script.write_text(
        f"#!/bin/sh\nexec '{sys.executable}' -c \"import sys; sys.path[0:0] = ['{RECIPES}']; "
        "from pathlib import Path; from pylonyard.buildout.driver import main; "
        f"main(Path('{site.sandbox.directory}'))\" "
        '"$@"\n'
    )
    script.chmod(0o755)
    site.reset()
    status, output = site.run()
    assert status == 0, output
    return site


def merged(config, more):
    """Return ``config`` with the sections of ``more``, whose options replace its own."""
    for section in more.split("[")[1:]:
        name, _, options = section.partition("]\n")
        names = {line.partition("=")[0].strip() for line in options.splitlines()}
        kept, inside = [], False
        for line in config.splitlines():
            if line.startswith("["):
                inside = line == f"[{name}]"
            if not (inside and line.partition("=")[0].strip() in names):
                kept.append(line)
            if line == f"[{name}]" and options:
                kept += options.splitlines()
                options = ""
        config = "\n".join(kept)
    return config + "\n"


@pytest.fixture
def site(whole):
    whole.reset()
    return whole


def evil(site):
    return f"\nopen({str(site.mark)!r}, 'w').close()\n"


def rebuilt(site, change, *, record=True):
    """Make the wheel anew with its members changed, and its RECORD too unless told not to."""
    wheel = site.wheels / TARGET
    with zipfile.ZipFile(site.pristine / TARGET) as archive:
        members = {n: archive.read(n).decode() for n in archive.namelist()}
    kept = members.pop(f"{INFO}/RECORD")
    change(members)
    info = next(name.partition("/")[0] for name in members if ".dist-info/" in name)
    support.write_wheel(wheel, members, info)
    if not record:
        with zipfile.ZipFile(wheel, "w") as archive:
            for name, text in {**members, f"{INFO}/RECORD": kept}.items():
                archive.writestr(name, text)
    return wheel


def appended(name, text):
    return lambda members: members.update({name: members.get(name, "") + text})


def edit(site, name, text, *, record=False):
    """Append ``text`` to a file of the wheel, or of the egg; return what is to be named."""
    if site.place != "installed egg":
        return rebuilt(site, appended(name, text), record=record)
    path = site.egg / name
    with path.open("a") as stream:
        stream.write(text)
    return path


def changed_code(site):
    return edit(site, CODE, evil(site))


def extra_module(site):
    return edit(site, "sitecustomize.py", evil(site), record=True)


def extra_pth(site):
    return edit(site, "shop.pth", "import os;" + evil(site).strip() + "\n", record=True)


def wrong_version_inside(site):
    if site.place == "installed egg":
        path = site.egg / INFO / "METADATA"
        path.write_text(path.read_text().replace("Version: 1.0", "Version: 2.0"))
        return path

    def change(members):
        for name in [name for name in members if name.startswith(INFO)]:
            text = members.pop(name).replace("Version: 1.0", "Version: 2.0")
            members[name.replace("1.0", "2.0")] = text
        members[CODE] += evil(site)

    return rebuilt(site, change)


def wrong_platform_tag(site):
    return edit(site, f"{INFO}/WHEEL", "Tag: cp27-cp27m-win32\n", record=True)


def sized(change):
    """Return a tampering that changes the bytes of the file itself."""

    def tamper(site):
        path = site.egg / CODE if site.place == "installed egg" else site.wheels / TARGET
        path.write_bytes(change(path.read_bytes(), site))
        return path

    return tamper


truncated = sized(lambda content, _: content[: len(content) // 2])
empty = sized(lambda _, __: b"")
appended_bytes = sized(lambda content, site: content + evil(site).encode())


def swapped_files(site):
    folder = site.egg.parent if site.place == "installed egg" else site.wheels
    one, other = (
        (site.egg, next(folder.glob("Shop-1.0-*.egg")))
        if site.place == "installed egg"
        else (folder / TARGET, folder / OTHER)
    )
    aside = folder / "aside"
    one.rename(aside)
    other.rename(one)
    aside.rename(other)
    return other / "shop.py" if site.place == "installed egg" else other


def edited_record(site):
    if site.place != "installed egg":
        return rebuilt(site, appended(CODE, evil(site)))
    rebuilt_wheel = rebuilt(site, appended(CODE, evil(site)))
    with zipfile.ZipFile(rebuilt_wheel) as archive:
        for name in (CODE, f"{INFO}/RECORD"):
            (site.egg / name).write_bytes(archive.read(name))
    shutil.copy(site.pristine / TARGET, site.wheels)
    return site.egg / CODE


def edited_lock(site):
    path, text = site.lock()
    path.write_text(text.replace(sha256(site.pristine / TARGET), "0" * 64))
    return site.wheels / TARGET


CLASSES = [
    changed_code,
    extra_module,
    extra_pth,
    wrong_version_inside,
    wrong_platform_tag,
    truncated,
    empty,
    appended_bytes,
    swapped_files,
    edited_record,
    edited_lock,
]


@pytest.mark.parametrize("tamper", CLASSES, ids=lambda tamper: tamper.__name__)
def test_tampered_distribution_is_refused_before_it_runs(site, tamper):
    before = site.released()
    named = tamper(site)

    status, output = site.run()

    assert status == 1, output
    (line,) = [line for line in output.splitlines() if line.startswith("Error: ")]
    assert line.startswith("Error: [app] lock: ")
    assert str(named.relative_to(site.wheels) if named.suffix == ".whl" else named) in line
    assert "Traceback" not in output
    assert list((site.cache / "refused").iterdir()), "it was not moved to quarantine"
    assert not site.mark.exists(), "it ran"
    assert site.released() == before


@pytest.mark.parametrize("whole", FETCHED, indirect=True)
def test_without_a_lock_it_would_have_run(site):
    edited_record(site)
    site.lock()[0].unlink()

    # So the marks of the other tests would show.  Offline alone, the cache is an index.
    in_cache = site.place == "download cache"
    if in_cache:
        assert "is used by a run with -o alone" in site.run()[1]
    site.run(*(["-o"] if in_cache else []))
    python = next(site.sandbox.directory.glob("current/*/env/bin/python"))
    subprocess.run([python, "-c", "import paste.deploy.loadwsgi"], check=True)

    assert site.mark.exists()


def test_run_after_a_refusal_is_whole(site):
    changed_code(site)
    assert site.run()[0] == 1
    for wheel in site.pristine.iterdir():
        shutil.copy(wheel, site.wheels)

    status, output = site.run()

    assert status == 0, output
    assert not site.mark.exists()


@pytest.mark.parametrize("whole", INSTALLED, indirect=True)
def test_bytecode_of_somebody_else_never_runs(site):
    source = site.egg / CODE
    (bytecode,) = source.parent.glob("__pycache__/loadwsgi.*.pyc")
    header = bytecode.read_bytes()[:16]
    code = compile(source.read_text() + evil(site), str(source), "exec")
    bytecode.write_bytes(header + marshal.dumps(code))

    status, output = site.run()

    assert status == 0, output
    python = next(site.sandbox.directory.glob("current/*/env/bin/python"))
    subprocess.run([python, "-c", "import paste.deploy.loadwsgi"], check=True)
    assert not site.mark.exists()


# What is kept beside the eggs: sandboxes, and the projects of the checkout.
def added(path, text):
    with path.open("a") as stream:
        stream.write(text)
    return path


def replaced(path, text):
    path.unlink()
    path.write_text(text)
    path.chmod(0o755)
    return path


def home_of(site):
    (link,) = site.sandbox.directory.glob("current/*/env")
    return link.resolve()


def packages(site):
    (folder,) = home_of(site).glob("lib/python*/site-packages")
    return folder


def project(site):
    (folder,) = (site.cache / "projects").glob("extra-*")
    return folder


def as_pth(site):
    return "import os;" + evil(site).strip() + "\n"


KEPT = {
    "sandbox: extra .pth": lambda s: added(packages(s) / "evil.pth", as_pth(s)),
    "sandbox: changed .pth": lambda s: added(packages(s) / "pylonyard.pth", as_pth(s)),
    "sandbox: extra module": lambda s: added(packages(s) / "sitecustomize.py", evil(s)),
    "sandbox: other python": lambda s: replaced(
        home_of(s) / "bin" / "python", f'#!/bin/sh\ntouch {s.mark}\nexec {sys.executable} "$@"\n'
    ),
    "sandbox: other base": lambda s: added(home_of(s) / "pyvenv.cfg", "home = /nowhere\n"),
    "project: changed code": lambda s: added(project(s) / "extra.py", evil(s)),
    "project: extra module": lambda s: added(project(s) / "sitecustomize.py", evil(s)),
    "project: extra .pth": lambda s: added(project(s) / "evil.pth", as_pth(s)),
    "project: changed metadata": lambda s: added(
        next(project(s).glob("*.dist-info")) / "METADATA", "Requires-Dist: Evil\n"
    ),
}


@pytest.fixture(scope="module")
def refusals(request):
    """Give a list of what was refused, whose length is printed in the end."""
    found = []
    yield found
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")
    reporter.write_line(f"\nkept sandboxes and projects: {len(found)} tamperings refused")


@pytest.fixture
def with_project(whole):
    """Give a sandbox whose application has a source tree of the checkout as well."""
    directory = whole.sandbox.directory
    (directory / "extra").mkdir(exist_ok=True)
    (directory / "extra" / "extra.py").write_text("value = 1\n")
    (directory / "extra" / "setup.py").write_text(
        "from setuptools import setup\nsetup(name='Extra', version='1.0', py_modules=['extra'])\n"
    )
    config = directory / "buildout.cfg"
    before = config.read_text()
    config.write_text(before + "\n[app]\nsources = extra\neggs =\n    Shop\n    Extra\n")
    whole.reset()
    yield whole
    config.write_text(before)


@pytest.mark.parametrize("whole", INSTALLED, indirect=True)
@pytest.mark.parametrize("name", KEPT)
def test_cached_file_is_refused_once_it_was_tampered_with(with_project, refusals, name):
    site = with_project
    assert site.run()[0] == 0
    before = site.released()
    named = KEPT[name](site)

    status, output = site.run()

    assert status == 1, output
    (line,) = [line for line in output.splitlines() if line.startswith("Error: ")]
    assert f"{named}: expected " in line
    assert "moved to" in line
    assert list((site.cache / "refused").iterdir()), "it was not moved to quarantine"
    assert not site.mark.exists(), "it ran"
    assert site.released() == before
    status, output = site.run()
    assert status == 0, output
    assert not site.mark.exists()
    refusals.append(name)
