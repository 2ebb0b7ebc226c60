"""Recipe ``mod_wsgi_build``: compile mod_wsgi for the Python that runs the application.

Publishes ``module`` (the module in its store; empty in ``proxy`` mode), ``load``
(the live ``wsgi.load``) and ``version``.
"""

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from zc.buildout.buildout import Options as Section

from pylonyard.config import converters
from pylonyard.config.layout import Layout
from pylonyard.packages import index, interpreters, missing, mod_wsgi_sources
from pylonyard.packages.archives import unpack
from pylonyard.packages.index import Places
from pylonyard.packages.integrity import RefusedError, Verified
from pylonyard.packages.interpreters import Interpreter
from pylonyard.packages.missing import Missing
from pylonyard.packages.mod_wsgi_sources import PROJECT, Source, filename
from pylonyard.packages.wheels import sha256
from pylonyard.recipes.base import HOME_OR_EGGS, Recipe, option, render
from pylonyard.system import atomic
from pylonyard.system.atomic import Artifact
from pylonyard.system.errors import CommandError, OptionError
from pylonyard.system.subprocesses import PROGRAM_PATH, clean_environment, linked_libraries, run
from pylonyard.webservers.apache.config_lint import apache as quoted

logger = logging.getLogger("pylonyard")

LOAD_FILE = "etc/apache2/mods-available/wsgi.load"


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a section."""

    mode: str = option(
        converters.one_of("proxy", "mod_wsgi", "embedded"),
        default="proxy",
        kind="``proxy``, ``mod_wsgi``, ``embedded``",
    )
    """How Apache serves the site; in ``proxy`` mode this part does nothing."""
    home: Path | None = option(converters.optional(converters.path), default="", kind="path")
    """The environment: ``${app:home}``, or any other."""
    eggs: tuple[str, ...] = option(
        converters.lines(converters.requirement), default="", kind="requirements, one a line"
    )
    """What to make an environment of, without ``home``."""
    version: str | None = option(
        converters.optional(converters.matching(r"[0-9]+(\.[0-9]+)*", "a version such as 6.1.1")),
        default="",
        kind="version of mod_wsgi",
    )
    """Default: the newest that builds for the application's Python: 6.1.1 for 3.10 to 3.15, 5.0.2
    for 3.8 and 3.9, 4.9.4 for older."""
    apxs: Path | None = option(converters.optional(converters.path), default="", kind="path")
    """Apache's build tool; default: ``apxs`` or ``apxs2`` on the ``PATH``."""


class ModWsgiBuild(Recipe):
    declaration = Options
    settings: Options

    def prepare(self) -> None:
        """Make sure that the module is in the cache; build it if it is not."""
        if self.settings.mode == "proxy":
            return
        try:
            self._ensure_module()
        except (CommandError, RefusedError) as error:
            raise OptionError(self.name, [str(error)]) from error
        except ValueError as error:
            raise OptionError(self.name, [f"version: {error}"]) from error

    def _ensure_module(self) -> None:
        apxs = self.settings.apxs or find_apxs()
        home = self.environment(self.settings.home, self.settings.eggs)
        if home is None:
            raise OptionError(self.name, [HOME_OR_EGGS])
        self.python = python_of(home)
        self.source = mod_wsgi_sources.choose(self.python.minor, self.settings.version)
        server = apache_variables(apxs)
        _warn_of_prefork(server)
        name = store_name(self.source, self.python, server)
        self.module = self.layout.cache / "mod_wsgi" / name / "mod_wsgi.so"
        verified = Verified(self.layout.cache)
        try:
            if not self._is_intact(verified):
                self._compile(server, apxs, verified)
        except RefusedError:
            # Rebuilt for the releases that use it; the error to report is the refusal.
            with contextlib.suppress(CommandError):
                self._compile(server, apxs, verified)
            raise

    def _compile(self, server: Mapping[str, str], apxs: Path, verified: Verified) -> None:
        check_tools(self.python, server)
        archive = fetch(self.source, self.buildout)
        build(self.source, archive, self.python, apxs, self.module.parent)
        verified.note_built(self.module, self.source.sha256)

    def _is_intact(self, verified: Verified) -> bool:
        """Return whether the module is as it was built, as far as this account can know.

        :raises RefusedError: if it was changed; it has been moved to quarantine
        """
        if not self.module.is_file():
            return False
        if verified.is_built(self.module, self.source.sha256):
            return True
        # Built by another account: build it again, unless only its owner can do that.
        return not os.access(self.module.parent.parent, os.W_OK)

    def artifacts(self) -> Iterator[Artifact]:
        if self.settings.mode != "proxy":
            text = load(self.source, self.module.parent, self.python)
            yield Artifact(LOAD_FILE, text)

    def published(self) -> Mapping[str, Any]:
        if self.settings.mode == "proxy":
            return {"module": "", "load": ""}
        return {
            "module": self.module,
            "load": self.live / LOAD_FILE,
            "version": self.source.version,
        }


def module_source(buildout: Any, section: str, interpreter: Interpreter | None) -> str | None:
    """Return the source of mod_wsgi that another part wants for this section's application.

    That part is initialised after this one, so it cannot be read yet.
    """
    series = interpreter.series if interpreter else sys.version_info[:2]
    for name in buildout:
        raw = buildout._raw[name]
        is_of_ours = f"${{{section}:" in raw.get("home", "")
        if raw.get("recipe") != "pylonyard:mod_wsgi_build" or not is_of_ours:
            continue
        options = Section(buildout, name, {k: raw[k] for k in ("mode", "version") if k in raw})
        if options.get("mode", "proxy") != "proxy":
            with contextlib.suppress(ValueError):  # The part itself will tell.
                source = mod_wsgi_sources.choose(series, options.get("version") or None)
                return mod_wsgi_sources.filename(source)
    return None


def find_apxs() -> Path:
    """Return the path of apxs, Apache's build tool.

    :raises CommandError: if it is not installed
    """
    for name in ("apxs", "apxs2"):
        if found := shutil.which(name, path=PROGRAM_PATH):
            return Path(found)
    raise CommandError("cannot build mod_wsgi", "no apxs", "apt-get install apache2-dev")


def _warn_of_prefork(server: Mapping[str, str]) -> None:
    enabled = Path(server.get("exp_sysconfdir", "/etc/apache2"), "mods-enabled")
    if (enabled / "mpm_prefork.load").exists():
        logger.warning(
            "Apache runs one process for each connection (mpm_prefork); threads are faster: "
            "a2dismod mpm_prefork && a2enmod mpm_event"
        )


# The module: compiled for one Python and one Apache, and kept in the cache.


def fetch(source: Source, buildout: Mapping[str, Any]) -> Path:
    """Return the source archive in the download cache, fetched if need be.

    Buildout's own index, ``find-links`` and ``allow-hosts`` are searched.

    :raises CommandError: if it cannot be had, or is not the pinned one
    """
    layout, places = Layout.of(buildout), Places.of(buildout)
    place = layout.dist / filename(source)
    if place.is_file() and sha256(place) == source.sha256:
        return place
    what = f"cannot get the source of mod_wsgi {source.version}"
    if layout.offline:
        lacking, options = Missing({place.name: None}), missing.options(layout, places)
        if place.exists():
            raise CommandError(what, f"{place} is damaged", lacking.advice(layout, options))
        raise CommandError(what, lacking.message(layout, options))

    def check(file: Path) -> None:
        if (digest := sha256(file)) != source.sha256:
            raise CommandError(what, f"expected SHA-256 {source.sha256}, got {digest}")

    offer = index.find(places, canonicalize_name(PROJECT), place.name)
    if offer is None:
        raise CommandError(what, "neither the index nor find-links has it")
    return places.bring(offer, layout.dist, check)


@dataclass(frozen=True, kw_only=True)
class Python:
    """The properties of a Python that a module which embeds it depends on."""

    version: str
    executable: str
    prefix: str
    abi: str
    shared: bool
    library: str
    libraries: str
    headers: str

    @property
    def minor(self) -> tuple[int, int]:
        major, minor = self.version.split(".")[:2]
        return int(major), int(minor)

    @property
    def name(self) -> str:
        return "python{}.{}".format(*self.minor)


def python_of(home: Path) -> Python:
    """Return the Python of the environment ``home``.

    :raises CommandError: if it does not run
    """
    python = home / "bin" / "python"
    found = interpreters.probe(python, f"cannot ask {python} what it is")
    return Python(
        version=".".join(map(str, found["version"])),
        executable=found["running"],
        prefix=found["prefix"],
        abi=found["abi"] or f"unicode-{found['unicode']}",
        shared=found["shared"],
        library=found["library"],
        libraries=found["libraries"],
        headers=found["headers"],
    )


def apache_variables(apxs: Path) -> dict[str, str]:
    """Return the variables of ``apxs`` about its Apache."""
    output = run([apxs, "-q"], f"cannot ask {apxs} about Apache")
    pairs = (line.partition("=") for line in output.splitlines())
    return {name: value for name, equals, value in pairs if equals}


def store_name(source: Source, python: Python, server: Mapping[str, str]) -> str:
    """Return a digest of all inputs of a build.

    An update of Apache within its module API, as Debian's are, changes nothing.
    """
    apache_api = [server.get(name, "") for name in ("HTTPD_MMN", "CC", "CFLAGS", "CPPFLAGS")]
    held = [source.version, source.sha256, asdict(python), apache_api]
    return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()[:20]


def check_tools(python: Python, server: Mapping[str, str]) -> None:
    """Check that the tools and headers for a build are there.

    :raises CommandError: naming the Debian package that is missing
    """
    what = "cannot build mod_wsgi"
    for tool in ("make", server.get("CC", "cc").split()[0] or "cc"):
        if not shutil.which(tool, path=PROGRAM_PATH):
            raise CommandError(what, f"no {tool}", "apt-get install build-essential")
    header = Path(python.headers, "Python.h")
    if not header.is_file():
        raise CommandError(what, f"no {header}", f"apt-get install {python.name}-dev")


def build(source: Source, archive: Path, python: Python, apxs: Path, place: Path) -> None:
    """Compile ``archive`` and keep the module as ``place``, a folder of the store.

    :raises CommandError: with the reason, and where the whole log is
    """
    logger.info("Building mod_wsgi %s for Python %s", source.version, python.version)
    with atomic.draft(place.parent) as folder:
        tree, log = unpack(archive, folder), folder / "build.log"
        try:
            _compile(tree, log, python, apxs)
        except CommandError:
            kept = place.parent / f"{place.name}.log"
            shutil.copyfile(log, kept)
            what = f"cannot build mod_wsgi {source.version} for Python {python.version}"
            raise CommandError(what, reason(log), f"the whole log: {kept}") from None
        module = tree / "src" / "server" / ".libs" / "mod_wsgi.so"
        check_links(module, python)
        draft = folder / place.name
        draft.mkdir(mode=0o755)
        shutil.copyfile(module, draft / "mod_wsgi.so")
        shutil.copyfile(log, draft / "build.log")
        (draft / "wsgi.load").write_text(load(source, place, python), encoding="utf-8")
        if place.is_dir():
            place.rename(folder / "old")
        atomic.publish(draft, place)
    logger.info("Built %s", place / "mod_wsgi.so")


def load(source: Source, place: Path, python: Python) -> str:
    """Return the lines that make an Apache load the module in ``place``."""
    return render("wsgi.load.j2", source, quoted, module=place / "mod_wsgi.so", python=python)


def _compile(tree: Path, log: Path, python: Python, apxs: Path) -> None:
    environment = clean_environment()
    if python.shared and not _is_standard(python.libraries):
        # A Python in a place of its own: the module must find its library there.
        environment["LDFLAGS"] = f"-Wl,-rpath,{python.libraries}"
    for command in (
        ["./configure", f"--with-apxs={apxs}", f"--with-python={python.executable}"],
        ["make"],
    ):
        logger.info("  %s", command[0])
        # Into a file: a failed build's whole output is worth keeping.
        script = ["sh", "-c", 'exec "$@" >> "$0" 2>&1', str(log), *command]
        doing = f"Building mod_wsgi: {command[0]}"
        run(script, "building", environment=environment, directory=tree, doing=doing)


def _is_standard(libraries: str) -> bool:
    return re.fullmatch(r"(/usr)?/lib(64)?(/[a-z0-9_]+-linux-gnu\w*)?", libraries) is not None


def reason(log: Path) -> str:
    """Return the most telling line of a failed build's log."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    telling = [line for line in lines if line and not line.startswith(("make", "."))]
    for line in telling:
        if re.search(r"\berror\b|cannot|not found", line, re.IGNORECASE):
            return line
    return telling[-1] if telling else "no output"


def check_links(module: Path, python: Python) -> None:
    """Check that the loader finds all libraries of ``module``, and the right Python.

    :raises CommandError: if not
    """
    what = f"mod_wsgi for Python {python.version} is of no use"
    libraries = linked_libraries(module, what)
    if missing := [name for name, file in libraries.items() if not file]:
        raise CommandError(what, f"the loader does not find {missing[0]}")
    linked = [name for name in libraries if name.startswith("libpython")]
    if python.shared and linked != [python.library]:
        found = ", ".join(linked) or "none"
        raise CommandError(what, f"expected it to need {python.library}, got {found}")
