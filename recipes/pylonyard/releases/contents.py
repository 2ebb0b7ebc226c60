"""Read a release: its verified files, its sites, and the set-ups that it still needs."""

import hashlib
import os
import pwd
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pylonyard.config.layout import MANIFEST, Layout
from pylonyard.system import safe_files
from pylonyard.system.errors import ActivationError, CommandError, ServerError, UserError
from pylonyard.system.rootfs import Entry
from pylonyard.system.safe_files import read_plainly
from pylonyard.system.subprocesses import clean_environment, last_exception, run
from pylonyard.watchers.registry import watchers
from pylonyard.webservers import registry


@dataclass(frozen=True)
class Source:
    """A file of the release, and where it goes: ``/etc/...``."""

    name: str
    entry: Entry
    path: Path


@dataclass(frozen=True, kw_only=True)
class Site:
    """A site, as far as an activation needs it."""

    name: str
    user: str
    data: Path
    live: Path
    """The folder of the site in its release."""
    log: Path
    """The folder of its logs."""
    port: int
    host: str = "127.0.0.1"
    mode: str = ""
    """``proxy``, ``mod_wsgi`` or ``embedded``; empty if no web server serves it."""
    server: str = registry.DEFAULT
    """The web server that serves it."""
    server_name: str = "localhost"
    listen: str = "*"
    listen_port: int = 80
    ssl_port: int | None = None
    ssl_certificate: Path | None = None
    ssl_key: Path | None = None
    modules: tuple[str, ...] = ()
    disable_sites: tuple[str, ...] = ()
    module: Path | None = None
    run: Path | None = None
    """The folder of its locks and sockets."""
    environment: str = ""
    """Its environment; empty if an older Pylonyard made the release."""

    @property
    def application_log(self) -> Path:
        return self.log / f"{self.name}.log"

    @property
    def listen_address(self) -> str:
        """Return the address at which a client on this machine reaches it."""
        return "127.0.0.1" if self.listen in ("*", "0.0.0.0") else self.listen

    @property
    def places(self) -> list[tuple[int, bool]]:
        """Return its public ports, and whether each uses TLS."""
        secure = [(self.ssl_port, True)] if self.ssl_certificate and self.ssl_port else []
        return [(self.listen_port, False), *secure]

    @property
    def writable_folders(self) -> list[tuple[Path, int]]:
        """Return the folders that the account writes to, with their modes."""
        run = [(self.run, 0o755)] if self.run else []
        return [(self.log, 0o755), *run, (self.data, 0o750)]

    @property
    def has_server(self) -> bool:
        """Return whether a server of its own runs it, which watchers start."""
        return self.mode in ("proxy", "")


@dataclass
class Servers:
    """The names of sites, by the state of their own server."""

    outdated: set[str] = field(default_factory=set)
    """Sites whose server was started before the release became current."""
    moved: set[str] = field(default_factory=set)
    """Sites whose server still listens at the address of an earlier release."""
    taken: dict[str, str] = field(default_factory=dict)
    """Sites whose address another process has, and that process."""


@dataclass(frozen=True)
class Release:
    """A release, read once, so that the installed files are the verified ones."""

    number: int
    folder: Path
    sites: tuple[Site, ...]
    files: tuple[Source, ...]
    configuration: str = ""
    """The file that it was made from; empty if an older Pylonyard made it."""
    permitted: Mapping[Path, tuple[str, int]] = field(default_factory=dict)
    """Files with secrets: the account whose group may read each, and its mode then."""


def read(folder: Path, number: int) -> Release:
    """Read and verify the release in ``folder``.

    :raises ActivationError: if a file is not as the manifest says
    """
    manifest = _manifest(folder)
    described = manifest["files"]
    wanted = {path: said for path, said in described.items() if _wanted(path)}
    try:
        texts = {path: _verified(folder, path, said) for path, said in wanted.items()}
        files = tuple(
            Source(f"/{path}", Entry("file", _mode(described[path]), 0, 0, content), folder / path)
            for path, content in sorted(texts.items())
            if _is_allowed(f"/{path}")
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ActivationError(
            f"{folder / MANIFEST}: expected mode and sha256 of each file, got {error!r}; "
            "run bin/buildout"
        ) from error
    sites = _all_sites(texts, folder, _environments(manifest))
    made_from = str(manifest.get("configuration", ""))
    permitted = dict(_secret_files(described, sites, folder))
    return Release(
        number, folder, sites, tuple(_files_for_servers(files, sites)), made_from, permitted
    )


def verify(folder: Path) -> None:
    """Check that a release has all its files, as it was made with them.

    :raises ActivationError: naming one that is missing or has another content
    """
    for path, said in _manifest(folder)["files"].items():
        place, link = folder / path, said.get("link") if isinstance(said, dict) else None
        if link is None:
            _verified(folder, path, said if isinstance(said, dict) else {})
        elif not place.is_symlink() or os.readlink(place) != link or not place.exists():
            raise ActivationError(
                f"{place}: expected a link to {link}, which exists; run bin/buildout"
            )


def _is_allowed(name: str) -> bool:
    """Return whether an activation may lay a file at a path."""
    is_served = any(one.may_have(name) for one in registry.servers())
    return is_served or any(each.may_have(name) for each in watchers())


def _secret_files(
    described: Mapping[str, Any], sites: Iterable[Site], folder: Path
) -> Iterator[tuple[Path, tuple[str, int]]]:
    accounts = {site.name: site.user for site in sites}
    for path, said in described.items():
        name, mode = path.partition("/")[0], int(said.get("mode", "0"), 8)
        if name in accounts and mode & 0o040 and not mode & 0o007 and ".." not in path:
            yield folder / path, (accounts[name], mode)


def _environments(manifest: Mapping[str, Any]) -> Mapping[str, str]:
    found = manifest.get("environments")
    return found if isinstance(found, dict) else {}


def _wanted(path: str) -> bool:
    return path.startswith("etc/") or path.endswith(("/server.json", "/site.json"))


def _mode(said: Mapping[str, Any]) -> int:
    """Return a file's mode in ``/etc``: executable or not, and root's alone to write."""
    return 0o755 if int(said["mode"], 8) & 0o100 else 0o644


def _manifest(folder: Path) -> Mapping[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = safe_files.json_object(read_plainly(path))
        files = manifest["files"]
    except ServerError as error:
        raise ActivationError(f"{path}: expected a regular file; run bin/buildout") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ActivationError(
            f"{path}: expected a manifest, got {error.__class__.__name__}; run bin/buildout"
        ) from error
    return {**manifest, "files": files if isinstance(files, dict) else {}}


def _verified(folder: Path, path: str, said: Mapping[str, Any]) -> bytes:
    place = folder / path
    try:
        if place.is_symlink() or not place.is_file():
            raise ActivationError(f"{place}: expected a regular file; run bin/buildout")
        content = place.read_bytes()
    except OSError as error:
        raise ActivationError(f"{place}: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != said.get("sha256"):
        raise ActivationError(
            f"{place}: expected the content in its manifest, got another; "
            "run bin/buildout for a new release"
        )
    return content


def _all_sites(
    texts: Mapping[str, bytes], folder: Path, environments: Mapping[str, str]
) -> tuple[Site, ...]:
    try:
        return tuple(
            replace(site, environment=str(environments.get(site.name, "")))
            for site in _sites(texts, folder)
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ActivationError(
            f"{folder}: expected descriptions of its sites, got {error!r}; run bin/buildout"
        ) from error


def _sites(texts: Mapping[str, bytes], folder: Path) -> Iterator[Site]:
    for path in sorted(texts):
        name, _, last = path.partition("/")
        if last == "server.json":
            server = _json(texts[path], path)
            vhost = _json(texts[f"{name}/site.json"], path) if f"{name}/site.json" in texts else {}
            yield _site(name, server, vhost, folder)


def _json(text: bytes, path: str) -> Mapping[str, Any]:
    try:
        return safe_files.json_object(text)
    except safe_files.DamagedError as error:
        raise ActivationError(f"{path}: {error}") from error


def _site(name: str, server: Mapping[str, Any], vhost: Mapping[str, Any], folder: Path) -> Site:
    path: Callable[[Any], Path | None] = lambda value: Path(value) if value else None  # noqa: E731
    return Site(
        name=name,
        user=server.get("user") or "root",
        data=Path(server["data"]),
        live=folder / name,
        log=Path(server["log"]).parent,
        port=int(server["port"]),
        host=server.get("host", "127.0.0.1"),
        mode=vhost.get("mode", ""),
        # An older Pylonyard knew of one alone.
        server=registry.server(vhost.get("server", registry.DEFAULT)).name,
        server_name=vhost.get("server-name", "localhost"),
        listen=vhost.get("listen", "*"),
        listen_port=int(vhost.get("listen-port", 80)),
        ssl_port=vhost.get("ssl-port"),
        ssl_certificate=path(vhost.get("ssl-certificate")),
        ssl_key=path(vhost.get("ssl-key")),
        modules=tuple(vhost.get("modules", ())),
        disable_sites=tuple(vhost.get("disable-sites", ())),
        module=path(vhost.get("module")),
        run=path(server.get("run")),
    )


def _files_for_servers(files: tuple[Source, ...], sites: tuple[Site, ...]) -> Iterator[Source]:
    """Leave out the files that start and watch servers, for sites that a web server runs."""
    names = {site.name for site in sites if not site.has_server}
    of_servers = [each for each in watchers() if each.is_of_server]
    without = {each.file(name) for each in of_servers for name in names}
    yield from (source for source in files if source.name not in without)


def described(folder: Path, number: int) -> Release:
    """Return a release without its files, unverified, for read-only commands.

    :raises ActivationError: if the descriptions of its sites are damaged
    """
    made_from = str(_described(folder).get("configuration", ""))
    return Release(number, folder, described_sites(folder), (), made_from)


def described_sites(folder: Path) -> tuple[Site, ...]:
    """Return the sites of a release, unverified, for read-only commands.

    :raises ActivationError: if their descriptions are damaged
    """
    paths = [*folder.glob("*/server.json"), *folder.glob("*/site.json")]
    try:
        texts = {path.relative_to(folder).as_posix(): read_plainly(path) for path in paths}
    except ServerError as error:
        raise ActivationError(str(error)) from error
    except OSError as error:
        raise ActivationError(f"{error.filename}: {error.strerror}") from error
    return _all_sites(texts, folder, _environments(_described(folder)))


def setup_record(sandbox: Path, site: str, database: str) -> Path:
    """Return the file that marks that a site was set up in a database."""
    return sandbox / "var" / "setup" / f"{site}-{database}"


def databases(folder: Path) -> Mapping[str, str]:
    """Return a digest of the database of each site of a release that is to be set up."""
    found = _described(folder).get("setup")
    return {str(name): str(digest) for name, digest in found.items()} if found else {}


def _described(folder: Path) -> Mapping[str, Any]:
    try:
        return _manifest(folder)
    except ActivationError:
        return {}


# ``paster setup-app``, once for each database.


@dataclass(frozen=True)
class Setup:
    """The set-up of the application of ``site`` in ``database``."""

    site: str
    user: str
    database: str
    """A digest that identifies the database."""


def due_setups(release: Path, layout: Layout) -> Iterator[Setup]:
    """Yield the set-ups that a release still needs, because an account was missing.

    :raises ActivationError: if the descriptions of its sites are damaged
    """
    found = databases(release)
    for site in described_sites(release):
        if site.name in found:
            setup = Setup(site.name, site.user, found[site.name])
            if not _done(setup, layout).exists():
                yield setup


def _done(setup: Setup, layout: Layout) -> Path:
    return setup_record(layout.directory, setup.site, setup.database)


def set_up(setup: Setup, release: Path, layout: Layout) -> None:
    """Set the application up, unless that was done for this database.

    :param release: whose ini and scripts to use; it need not be live
    :raises UserError: if the application's ``setup_app`` fails; it
        is tried again by the next run
    """
    done = _done(setup, layout)
    if done.exists():
        return
    output = run_setup(setup, release, layout)
    record = f"{time.strftime('%Y-%m-%d %H:%M:%S')}\n{output}"
    try:
        safe_files.write(done, record.encode(), 0o600)
    except OSError as error:
        raise UserError(f"[{setup.site}] cannot write {done}: {error.strerror}") from error


def run_setup(setup: Setup, release: Path, layout: Layout) -> str:
    site = release / setup.site
    data = layout.var / "data" / setup.site
    account = pwd.getpwnam(setup.user)
    environment = {
        "HOME": account.pw_dir,
        "USER": setup.user,
        "PYTHON_EGG_CACHE": str(data / "egg-cache"),
    }
    try:
        return run(
            [site / "bin" / "paster", "setup-app", site / "production.ini"],
            f"[{setup.site}] paster setup-app",
            environment=clean_environment(environment),
            directory=data,
            account=setup.user,
            doing=f"Running the setup-app of {setup.site}",
            reason=last_exception,
        )
    except CommandError as error:
        reader = "" if os.access(site, os.X_OK) else f"; can {setup.user} read {layout.directory}?"
        raise UserError(f"{error}{reader}") from error
