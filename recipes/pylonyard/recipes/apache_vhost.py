"""Recipe ``apache_vhost``: write the virtual host and the private Apache of a site.

Publishes ``path`` (the live site file), ``modules`` (for a2enmod), ``script``
(the live ``dispatch.wsgi``) and ``httpd`` (the private Apache's live file).
"""

import logging
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pylonyard.config import converters
from pylonyard.config.run_state import own_ini
from pylonyard.environments import scripts
from pylonyard.recipes.base import (
    HOME_OR_EGGS,
    PROXY,
    Recipe,
    expect_stopped,
    option,
    render,
    site_folders,
)
from pylonyard.system import accounts
from pylonyard.system.atomic import Artifact, Link
from pylonyard.system.errors import OptionError
from pylonyard.webservers.apache import SERVER
from pylonyard.webservers.apache import directives as own_lines
from pylonyard.webservers.apache import options as settings
from pylonyard.webservers.apache.config_lint import DEBIAN, apache, problems

NO_INI = "ini: required outside a release, such as ${ini:path}, but missing"

log = logging.getLogger("pylonyard.apache_vhost")

DAEMON = ("mod_wsgi",)


def uninstall(section: str, options: Any) -> None:
    """Refuse to uninstall a part outside any release while its private Apache runs."""
    expect_stopped(section, options, SERVER.private_command(options["name"]))


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a section."""

    name: str = option(converters.site_name, kind="site name")
    """The site that this part belongs to."""
    mode: str = option(
        converters.one_of("proxy", "mod_wsgi", "embedded"),
        default="proxy",
        kind="``proxy``, ``mod_wsgi``, ``embedded``",
    )
    """By proxy to the site's own server; in a group of daemon processes; in Apache's own
    processes."""
    server_name: str = option(converters.host, kind="host name")
    """The host name in the site's URL."""
    server_alias: tuple[str, ...] = option(
        converters.listed(converters.server_alias), default="", kind="host names"
    )
    """Other host names; ``*``, ``?`` allowed."""
    listen: str = option(converters.listen_host, default="*", kind="address")
    """The address where Apache listens,"""
    listen_port: int = option(converters.port, default="80", kind="TCP port")
    """and the port; any but 80 gets a ``Listen``."""
    directives: tuple[str, ...] = option(own_lines.directives, default="", kind="lines")
    """Lines that come before the application: what they serve, it does not."""
    directives_after: tuple[str, ...] = option(own_lines.directives, default="", kind="lines")
    """Lines that come after it: they override what is set for it."""
    directives_http: tuple[str, ...] = option(own_lines.directives, default="", kind="lines")
    """Lines that come first where http is served, or leads to https."""
    extra_modules: tuple[str, ...] = option(
        converters.listed(settings.module_name), default="", kind="names"
    )
    """Modules that these lines need."""
    log_folder: Path = option(converters.path, default="var/log", kind="path")
    """Folder of the private Apache's logs; those of the machine's Apache are in Apache's folder."""
    log_level: tuple[str, ...] = option(
        converters.listed(settings.log_level), default="warn", kind="levels"
    )
    """Such as ``warn wsgi:info``."""
    run_folder: Path = option(converters.path, default="var/run", kind="path")
    """Folder of the private Apache's pid and sockets."""
    data: Path = option(converters.path, default="var/data/${:name}", kind="path")
    """The folder that the application writes to; default: ``{default}``."""
    prefix: str | None = option(converters.optional(settings.url_path), default="", kind="URL path")
    """The application is below it; default: at the top."""
    trusted_proxies: tuple[str, ...] = option(
        settings.proxies, default="", kind="addresses, networks"
    )
    """A second TLS end in front: Apache believes its ``X-Forwarded-For`` and ``-Proto``."""
    unknown_hosts: str = option(
        converters.one_of("refuse", "serve"), default="refuse", kind="``refuse``, ``serve``"
    )
    """Whether a request for another host name is answered."""
    timeout: int = option(settings.timeout, default="", kind="seconds")
    """How long client and backend may be silent; default: 60."""
    max_body: int = option(settings.max_body, default="", kind="bytes")
    """The largest request; default: 10485760. 0: no limit."""
    chunked_bodies: str | None = option(
        converters.optional(converters.one_of("refuse", "pass", "spool")),
        default="",
        kind="``refuse``, ``pass``, ``spool``",
    )
    """Whether a backend gets bodies without a length; default: ``pass`` if it is waitress and
    limits them, as ``[ini]`` says, else ``refuse``."""
    request_timeouts: tuple[str, ...] = option(
        converters.listed(settings.request_timeout),
        default="header=15-30,MinRate=500 body=15,MinRate=500",
        kind="words",
    )
    """``RequestReadTimeout``: how slow a client may send; default: ``{default}``."""
    static: tuple[tuple[str, Path], ...] = option(
        settings.static, default="", kind="url = folder, a line"
    )
    """Files that Apache serves by itself."""
    disable_sites: tuple[str, ...] = option(
        converters.listed(settings.apache_site), default="", kind="names"
    )
    """Other sites of the machine's Apache that ``bin/pylonyard activate`` disables; names as for
    a2dissite, with or without ``.conf``."""
    backends: tuple[tuple[str, int], ...] = option(
        converters.listed(converters.host_port),
        default="",
        kind="host:port, several",
        group="proxy",
    )
    """The site's servers; Apache balances requests between several."""
    retry: int = option(
        converters.whole(0, 3600, "(seconds)"), default="5", kind="seconds", modes=PROXY
    )
    """When a failed backend is tried again."""
    lbmethod: str = option(
        converters.one_of("byrequests", "bytraffic", "bybusyness"),
        default="byrequests",
        kind="name",
        modes=PROXY,
    )
    """How requests are balanced."""
    websockets: tuple[str, ...] = option(
        settings.websockets, default="", kind="URL paths", modes=PROXY
    )
    """Paths whose requests may become websockets;"""
    websocket_timeout: int = option(
        converters.whole(1, 86400, "(seconds)"), default="300", kind="seconds", modes=PROXY
    )
    """how long one may be silent."""
    module: Path | None = option(
        converters.optional(converters.path), default="", kind="path", group="mod_wsgi"
    )
    """``${wsgi:module}``."""
    home: Path | None = option(converters.optional(converters.path), default="", kind="path")
    """The environment: ``${app:home}``, or any other."""
    eggs: tuple[str, ...] = option(
        converters.lines(converters.requirement), default="", kind="requirements, one a line"
    )
    """What to make an environment of, without ``home``."""
    ini: Path | None = option(converters.optional(converters.path), default="", kind="path")
    """The application's configuration; default: that of the release. Required without one:
    ``${ini:path}``."""
    user: str = option(converters.account, default="", kind="account")
    """The account of the daemon processes."""
    group: str | None = option(settings.group, default="", kind="group", modes=DAEMON)
    """Their group; default: the account's."""
    processes: int = option(
        converters.whole(1, 100, "(processes)"), default="2", kind="number", modes=DAEMON
    )
    """How many there are."""
    overlap: bool = option(converters.boolean, default="true", kind="``true``, ``false``")
    """As in ``[site]``: with ``false`` there is one."""
    threads: int = option(
        converters.whole(1, 100, "(threads)"), default="2", kind="number", modes=DAEMON
    )
    """How many requests each process answers at once; few are faster than many."""
    reading_threads: int = option(
        converters.whole(0, 1000, "(threads)"), default="100", kind="number", modes=DAEMON
    )
    """More threads, in all processes together, which only receive what clients are still
    sending."""
    display_name: str = option(settings.display_name, default="%{GROUP}", kind="name", modes=DAEMON)
    """What ``ps`` shows."""
    daemon_options: tuple[tuple[str, str], ...] = option(
        settings.daemon_options, default="", kind="name = value, a line", modes=DAEMON
    )
    """More options of ``WSGIDaemonProcess``."""
    application_group: str = option(
        settings.application_group, default="%{GLOBAL}", kind="name", modes=("mod_wsgi", "embedded")
    )
    """The interpreter; a second embedded site needs one of its own."""
    ssl_certificate: Path | None = option(
        converters.optional(converters.path), default="", kind="path", group="TLS"
    )
    """The certificate with its chain; default: no TLS."""
    ssl_key: Path | None = option(converters.optional(converters.path), default="", kind="path")
    """Its key."""
    ssl_port: int = option(converters.port, default="443", kind="TCP port")
    """The port for TLS."""
    redirect: bool = option(converters.boolean, default="true", kind="``true``, ``false``")
    """Whether http leads to https."""
    hsts: int = option(converters.whole(0, 63072000, "(seconds)"), default="0", kind="seconds")
    """How long browsers insist on https."""
    httpd_port: int = option(
        converters.port,
        default="8880",
        kind="TCP port",
        group="httpd A private Apache: ``bin/<name>-httpd``.",
    )
    """Its port on loopback,"""
    httpd_ssl_port: int = option(converters.port, default="8843", kind="TCP port")
    """and that for TLS."""
    apache_modules: Path = option(converters.path, default="/usr/lib/apache2/modules", kind="path")
    """The folder of Apache's modules; default: ``{default}``."""


class ApacheVhost(Recipe):
    declaration = Options
    settings: Options

    def prepare(self) -> None:
        """Refuse options that contradict each other."""
        if found := list(_conflicting_options(self.settings, self.layout.directory)):
            raise OptionError(self.name, found)
        options = self.settings
        self.home = self.environment(options.home, options.eggs)
        self.can_load = self.is_released or None not in (self.home, options.ini)
        """Whether ``dispatch.wsgi`` would find the application."""
        if options.mode != "proxy" and not self.can_load:
            missing = HOME_OR_EGGS if self.home is None else NO_INI
            raise OptionError(self.name, [missing])
        if self._loads_alone and self.home and "pastedeploy" not in scripts.installed(self.home):
            problem = "expected an environment with PasteDeploy, which loads the application"
            raise OptionError(self.name, [f"home: {problem}, got {str(self.home)!r}"])

        site_file = self._live_site_file()
        if options.unknown_hosts == "refuse" and settings.serves_any_host(site_file):
            log.info("[%s] %s: %s", self.name, options.name, settings.HOSTS_REFUSED)

    @property
    def _loads_alone(self) -> bool:
        """Return whether Apache loads the application of a part outside any release."""
        return not self.is_released and self.settings.mode != "proxy"

    def install(self) -> Iterable[str]:
        """Write the files; refuse it if files that they name are missing."""
        if self._loads_alone:
            named = {"ini": self.settings.ini, "module": self.settings.module}
            absent = [
                f"{key}: cannot find {path}"
                for key, path in named.items()
                if path and not path.is_file()
            ]
            if absent:
                raise OptionError(self.name, absent)
        return super().install()

    update = install

    def folders(self) -> Mapping[Path, int]:
        return site_folders(self.settings)

    def artifacts(self) -> Iterator[Artifact | Link]:
        name = self.settings.name
        yield from self.environment_link(self.home)
        yield Artifact(SERVER.site_file(name)[1:], self._site_file())
        yield Artifact(f"{name}/httpd.conf", self._render("httpd.conf.j2"))
        yield Artifact(f"{name}/site.json", settings.site_json(self.settings, SERVER.name))
        yield Artifact(f"bin/{SERVER.private_command(name)}", self._control_script(), 0o755)
        if self.can_load:
            # Any WSGI server can load it, also Apache in another mode.
            yield Artifact(f"{name}/dispatch.wsgi", self._render("dispatch.wsgi.j2"))

    def _site_file(self) -> str:
        text = self._render("site.conf.j2")
        if found := problems(text, exists=lambda path: True, defined=DEBIAN):
            raise ValueError(f"directives: expected safe ones, got {found[0]}")
        return text

    def _render(self, template: str) -> str:
        options, live = self.settings, self.live / self.settings.name
        processes = options.processes if options.overlap else 1
        threads = options.threads + math.ceil(options.reading_threads / processes)
        return render(
            template,
            options,
            apache,
            live=settings.expect_no_pattern(live),
            is_released=self.is_released,
            site_file=self._live_site_file(),
            modules=settings.modules(options),
            backend_urls=[f"http://{host}:{port}" for host, port in options.backends],
            static_patterns={url: re.escape(url) for url, _ in options.static},
            before=self._before(options.directives),
            before_http=self._before(options.directives_http),
            to_https=own_lines.rest(options.directives_http),
            no_websocket="|".join(map(re.escape, options.websockets)),
            account=options.user,
            account_group=settings.group_of(options.user, options.group),
            unprivileged=settings.private_account(options.user, options.group),
            daemon_processes=processes,
            daemon_threads=threads,
            daemon_options=settings.daemon(options.daemon_options, threads, options.timeout),
            takes_chunks=options.chunked_bodies or self._chunks_of_server(),
            claims=settings.CLAIMS,
            claims_with_underscores=settings.UNDERSCORED_CLAIMS,
            from_trusted=settings.from_any(options.trusted_proxies),
            serves_unknown_hosts=options.unknown_hosts == "serve",
            known_hosts=settings.host_pattern((options.server_name, *options.server_alias)),
            ciphers=settings.CIPHERS,
        )

    def _chunks_of_server(self) -> str:
        """Return what becomes of a chunked body: passed on to a server of ours that limits it."""
        ini = own_ini(self.buildout, self.name)
        if not ini or [str(port) for _, port in self.settings.backends] != [
            self.buildout[ini].get("port")
        ]:
            return "refuse"
        return str(self.buildout[ini].get("chunked-bodies", "refuse"))

    def _before(self, lines: tuple[str, ...]) -> list[str]:
        is_proxy = self.settings.mode == "proxy"
        return list(own_lines.before_proxy(lines) if is_proxy else lines)

    def _live_site_file(self) -> Path:
        return self.live / SERVER.site_file(self.settings.name)[1:]

    def _control_script(self) -> str:
        """Return the script ``bin/<site>-httpd``, which starts and stops the private Apache."""
        options = self.settings
        described = {
            "name": options.name,
            "config": str(self.live / options.name / "httpd.conf"),
            "pid_file": str(options.run_folder / f"{options.name}-httpd.pid"),
            "log": str(options.log_folder / f"{options.name}-httpd.log"),
            "port": options.httpd_port,
            "tls_port": options.httpd_ssl_port if options.ssl_certificate else None,
            "user": options.user,
            **({} if self.is_released else {"sandbox": str(self.layout.directory)}),
        }
        return scripts.tool_script(
            self.layout.directory,
            "pylonyard.webservers.apache.control",
            f"PrivateApache(**{described!r})",
            "sys.argv[1:]",
            names="PrivateApache, main",
        )

    def published(self) -> Mapping[str, Any]:
        name = self.settings.name
        script = {"script": self.live / name / "dispatch.wsgi"} if self.can_load else {}
        return {
            "path": self._live_site_file(),
            "modules": " ".join(settings.modules(self.settings)),
            **script,
            "httpd": self.live / name / "httpd.conf",
            "httpd-port": self.settings.httpd_port,
        }


def _conflicting_options(options: Options, sandbox: Path) -> Iterator[str]:
    if options.mode == "proxy" and not options.backends:
        yield "backends: expected at least one host:port in mode proxy, got ''"
    if options.mode != "proxy" and options.module is None:
        yield f"module: expected the path of mod_wsgi.so in mode {options.mode}, got ''"
    if options.mode == "mod_wsgi" and accounts.is_root(options.user):
        yield f"user: expected an account that mod_wsgi may use, got {options.user!r}"
    if (options.ssl_certificate is None) != (options.ssl_key is None):
        yield "ssl-certificate: expected both this and ssl-key, got only one"
    if options.ssl_certificate and options.listen_port == options.ssl_port:
        yield f"ssl-port: expected another than listen-port, got '{options.ssl_port}'"
    if options.ssl_certificate and options.httpd_port == options.httpd_ssl_port:
        yield f"httpd-ssl-port: expected another than httpd-port, got '{options.httpd_ssl_port}'"
    for name in ("directives", "directives_after", "directives_http"):
        for problem in own_lines.problems(getattr(options, name), sandbox):
            yield f"{name.replace('_', '-')}: {problem}"
    if options.hsts and options.ssl_certificate is None:
        yield f"hsts: expected 0 without ssl-certificate, got '{options.hsts}'"
    if options.name in options.disable_sites:
        yield f"disable-sites: expected other sites than this, got {options.name!r}"
    if options.mode == "mod_wsgi" and (
        longest := settings.longest_run_folder(options.run_folder, options.name)
    ):
        yield (
            f"run-folder: expected a path of at most {longest} characters, "
            f"which sockets need, got '{options.run_folder}'"
        )
    yield from (f"static: {each}" for each in settings.static_problems(options.static, sandbox))
