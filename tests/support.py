"""Helpers of several tests: real wheels, real sandboxes, a real zc.buildout."""

import base64
import contextlib
import copy
import csv
import functools
import hashlib
import http.server
import io
import logging
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import zc.buildout.buildout
import zc.buildout.easy_install
from pylonyard.buildout import driver, patches
from pylonyard.config.run_state import RunState
from pylonyard.system.locks import Locks
from zc.buildout._vendor import pkg_resources
from zc.buildout.buildout import Buildout, SectionKey

CHECKOUT = Path(__file__).resolve().parent.parent

LOCKS = Locks()
"""Those of this process, in which one test does several runs."""

MISSING = object()

SHOP_INI = """\
# The shop's own template.
[DEFAULT]
debug = false
email_to = you@yourdomain.com

[server:main]
use = egg:Paste#http
host = 0.0.0.0
port = 5000

[app:main]
use = egg:Shop
sqlalchemy.url = sqlite:///%(here)s/shop.db
secret = <secret:app_instance_secret>
"""

# What the validator of an ini asks of PasteDeploy, for sandboxes of tests.
LOADWSGI = """\
import configparser
APP, SERVER = 'app:main', 'server:main'
def loadcontext(kind, uri):
    config = configparser.ConfigParser()
    config.read(uri.partition(':')[2])
    return config[kind]['use']
"""

# Follows the text of profiles/base.cfg: one file, since zc.buildout takes long to merge several.
CONFIG = """
[buildout]
index = {store}/index
find-links = {store}/wheels
eggs-directory = {store}/eggs
download-cache = {store}/cache
show-picked-versions = false

[site]
name = shop
eggs = Shop
roles = app ini init cron
environment = development

[app]
eggs = ${{site:eggs}}

[ini]
template = shop.ini
setup = false

[release]
load = false
"""


def _copied(value: Any) -> Any:
    if type(value) is dict:
        return {name: _copied(held) for name, held in value.items()}
    if type(value) is not SectionKey:
        return copy.deepcopy(value)
    copied = SectionKey.__new__(SectionKey)
    copied.value, copied.history = value.value, list(value.history)
    return copied


# A third of the time of a run is zc.buildout's copying of its sections, deeper than need be.
zc.buildout.buildout.copy = SimpleNamespace(deepcopy=_copied)
# A fifth is its looking up, for each part, what the recipes require: all of it is here.
pkg_resources.EntryPoint.require = lambda *_: None


def make_wheel(
    folder: Path,
    name: str = "Shop",
    version: str = "1.0",
    files: Mapping[str, str] | None = None,
    scripts: str = "",
    requires: str = "",
) -> Path:
    """Make a real wheel in ``folder``; ``scripts`` are ``name = module:function`` lines."""
    info = f"{name}-{version}.dist-info"
    needed = f"Requires-Dist: {requires}\n" if requires else ""
    members = {
        **(files if files is not None else {f"{name.lower()}.py": "def main():\n    return 0\n"}),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needed}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{scripts}\n",
    }
    return write_wheel(folder / f"{name}-{version}-py3-none-any.whl", members, info)


def write_wheel(wheel: Path, members: Mapping[str, str], info: str) -> Path:
    """Write ``members`` and a RECORD of them."""
    rows = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    for name, text in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
        writer.writerow([name, "sha256=" + digest.rstrip(b"=").decode(), len(text.encode())])
    writer.writerow([f"{info}/RECORD", "", ""])
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
        archive.writestr(f"{info}/RECORD", rows.getvalue())
    return wheel


def make_store(folder: Path) -> Path:
    """Make what sandboxes of tests share: two wheels, an index without any, eggs, a cache."""
    for name in ("wheels", "index"):
        (folder / name).mkdir(parents=True)
    make_wheel(
        folder / "wheels",
        scripts="paster = shop:main\nshop = shop:main\nshop-admin = shop:main",
        requires="Shop-Loader",
    )
    files = {"paste/__init__.py": "", "paste/deploy/__init__.py": ""}
    files["paste/deploy/loadwsgi.py"] = LOADWSGI
    make_wheel(folder / "wheels", "Shop_Loader", "1.0", files)
    return folder


def in_this_process(run: Any) -> Any:
    """Return a zc.buildout that holds its locks together with others of this process."""
    RunState.of(run).locks = LOCKS
    return run


class Sandbox:
    """A folder with a ``buildout.cfg``, and zc.buildout in this process."""

    def __init__(self, directory: Path, store: Path) -> None:
        self.directory = directory
        self.store = store
        directory.mkdir(exist_ok=True)
        (directory / "shop.ini").write_text(SHOP_INI)
        base = (CHECKOUT / "profiles" / "base.cfg").read_text()
        self.config = base.replace("extends = versions-server.cfg\n", "") + CONFIG.format(
            store=store
        )

    def buildout(self, options: Mapping[str, str] | None = None, text: str = "") -> Any:
        """Return zc.buildout with ``options``, ``{"section:option": value}``, changed."""
        sections: dict[str, dict[str, str]] = {}
        for place, value in (options or {}).items():
            section, _, option = place.partition(":")
            sections.setdefault(section, {})[option] = value.replace("\n", "\n    ")
        for section, values in sections.items():
            # "option +" becomes "option += value".
            lines = "".join(f"{o}{'' if o[-1] == '+' else ' '}= {v}\n" for o, v in values.items())
            text += f"\n[{section}]\n{lines}"
        config = self.directory / "buildout.cfg"
        config.write_text(self.config + text)
        return in_this_process(Buildout(os.fspath(config), [], use_user_defaults=False))

    def run(self, options: Mapping[str, str] | None = None, text: str = "") -> Any:
        """Do what ``bin/buildout`` does."""
        buildout = self.buildout(options, text)
        buildout.install([])
        return buildout

    def snapshot(self, *but: str) -> dict[str, tuple[int, str | bytes]]:
        """Return every file and link of the sandbox but its configuration."""
        found: dict[str, tuple[int, str | bytes]] = {}
        for folder, folders, files in os.walk(self.directory):
            for name in [*folders, *files]:
                path = os.path.join(folder, name)
                if os.path.islink(path):
                    found[path] = (0, os.readlink(path))
                elif name in files and name not in ("buildout.cfg", *but):
                    with open(path, "rb") as stream:
                        found[path] = (os.fstat(stream.fileno()).st_mode, stream.read())
        return found


def other_process(code: str, *words: str) -> tuple["subprocess.Popen[str]", str]:
    """Start Python on ``code``; return once it has printed its first line, and that."""
    path = f"import sys; sys.path.insert(0, {str(CHECKOUT / 'recipes')!r})"
    started = subprocess.Popen(
        [sys.executable, "-c", f"{path}\n{code}", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert started.stdout is not None
    return started, started.stdout.readline().strip()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        pass


@contextlib.contextmanager
def serve_folder(folder: Path) -> Iterator[str]:
    """Serve a folder on a free port of 127.0.0.1; give its address."""
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def reset_buildout() -> Iterator[None]:
    """Undo what a zc.buildout leaves in its process, and let go of our locks."""
    loggers = [logging.getLogger(), logging.getLogger("zc.buildout")]
    before = [(log, list(log.handlers), log.level, log.propagate) for log in loggers]
    folder, unpackers = Path.cwd(), dict(zc.buildout.easy_install.UNPACKERS)
    places = [(patch.owner, patch.name) for patch in patches.PATCHES]
    places += [(zc.buildout.buildout, name) for name in ("Buildout", "_open", "_doing")]
    mended = [(owner, name, vars(owner).get(name, MISSING)) for owner, name in places]
    defaults = dict(zc.buildout.buildout._buildout_default_options)
    # As bin/buildout has it; zc.buildout's own starts pip for each wheel.
    zc.buildout.easy_install.UNPACKERS[".whl"] = driver.unpack_wheel
    held = set(LOCKS.held)
    try:
        yield
    finally:
        os.chdir(folder)
        zc.buildout.easy_install.UNPACKERS.update(unpackers)
        for owner, name, value in mended:
            if value is not MISSING:
                setattr(owner, name, value)
            elif name in vars(owner):
                delattr(owner, name)
        zc.buildout.buildout._buildout_default_options.clear()
        zc.buildout.buildout._buildout_default_options.update(defaults)
        for log, log.handlers, level, log.propagate in before:
            log.setLevel(level)
        for directory in set(LOCKS.held) - held:
            os.close(LOCKS.held.pop(directory))


IN_TREE_BACKEND = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
"""The pyproject.toml of a source tree with a build backend of its own, in backend.py."""

PACK = """
import base64, hashlib, os, zipfile

def pack(folder, project, members):
    info, name = project + "-1.0.dist-info", project + "-1.0-py3-none-any.whl"
    members[info + "/METADATA"] = "Metadata-Version: 2.1\\nName: " + project + "\\nVersion: 1.0\\n"
    record = ""
    with zipfile.ZipFile(os.path.join(folder, name), "w") as archive:
        for member, content in sorted(members.items()):
            content = content if isinstance(content, bytes) else content.encode()
            archive.writestr(member, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest())
            record += "%s,sha256=%s,\\n" % (member, digest.decode().rstrip("="))
        archive.writestr(info + "/RECORD", record)
    return name
"""
"""The beginning of such a backend: it packs a wheel of version 1.0 in no time."""
