"""Converters for the options of a virtual host, and defaults of daemon processes."""

import grp
import ipaddress
import json
import math
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pylonyard.config import converters
from pylonyard.system import accounts

# A socket's whole path has at most 107 bytes; mod_wsgi adds numbers.
LONGEST_SOCKET_PREFIX = 80

# Those of mod_wsgi-express: without them, and LONGEST_REQUEST, a request that hangs
# takes its thread for good, and a process that hangs is never replaced.
DAEMON = {
    "listen-backlog": "100",
    "queue-timeout": "45",
    "socket-timeout": "60",
    "connect-timeout": "15",
    "startup-timeout": "15",
    "deadlock-timeout": "60",
    "graceful-timeout": "15",
    # Requests in flight get this time, too, when a new release is loaded.
    "shutdown-timeout": "30",
    "lang": "C.UTF-8",
    "locale": "C.UTF-8",
}

LONGEST_REQUEST = 100
"""Seconds of a request after which its process is replaced."""

_MORE_DAEMON = {
    "backlog",
    "cpu-priority",
    "cpu-time-limit",
    "eviction-timeout",
    "inactivity-timeout",
    "interrupt-timeout",
    "maximum-requests",
    "memory-limit",
    "receive-buffer-size",
    "request-timeout",
    "response-buffer-size",
    "restart-interval",
    "send-buffer-size",
    "stack-size",
    "umask",
    "virtual-memory-limit",
}

# Mozilla's "intermediate" set, version 6.0: TLS 1.2 with forward secrecy by elliptic
# curves, and 1.3.
CIPHERS = ":".join(
    [
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
    ]
)

# What Debian's a2enmod takes, in the order in which a2enmod may load them.
MODULES_BY_MODE = {
    "proxy": ("proxy", "proxy_http", "buffer"),
    "mod_wsgi": ("wsgi",),
    "embedded": ("wsgi",),
}

# Headers by which a client claims to be a proxy, or what a server may take for such.
CLAIMS = (
    "Forwarded",
    *(f"X-Forwarded-{what}" for what in ("By", "Host", "Path", "Port", "Prefix", "Proto")),
    *(f"X-Forwarded-{what}" for what in ("Protocol", "Scheme", "Server", "Ssl")),
    "X-Client-IP",
    "X-Real-IP",
    "X-Scheme",
    "X-Script-Name",
    "X-Url-Scheme",
    "Front-End-Https",
    "X-Forwarded-For",
)
# The same, spelled with _, and two that gunicorn takes from a proxy.
UNDERSCORED_CLAIMS = (
    "^(script_name|path_info|(?=.*_)(x[-_](forwarded|client|real|scheme|script|url)|front[-_]end))"
)

_daemon_value = converters.matching(r"[A-Za-z0-9._@-]+", "a number or a name")
_url = converters.matching(
    r"(/[A-Za-z0-9._~-]+)+", "a URL path of letters, digits, . _ ~ - without a final /"
)
_site = converters.matching(r"[A-Za-z0-9][A-Za-z0-9._-]*", "a site's name")

# The same in [site], which leaves them empty where nobody set them.
timeout = converters.default("60", converters.whole(1, 86400, "(seconds)"))
max_body = converters.default("10485760", converters.whole(0, 999999999, "(bytes)"))
url_path = _url
module_name = converters.matching(r"[a-z][a-z0-9_]*", "a module's name as a2enmod takes it")
log_level = converters.matching(
    r"([a-z0-9_]+:)?(emerg|alert|crit|error|warn|notice|info|debug|trace[1-8])",
    "a level such as warn, or module:level",
)
request_timeout = converters.matching(
    r"(handshake|header|body)=\d{1,5}(-\d{1,5})?(,[Mm]in[Rr]ate=\d{1,9})?",
    "header=, body= or handshake=SECONDS[-SECONDS][,MinRate=BYTES]",
)
display_name = converters.matching(
    r"%\{GROUP\}|[A-Za-z0-9(][A-Za-z0-9():._-]{0,60}", "%{GROUP} or a name without spaces"
)
application_group = converters.matching(
    r"%\{GLOBAL\}|[A-Za-z0-9][A-Za-z0-9._-]{0,60}", "%{GLOBAL} or a name"
)


def apache_site(text: str) -> str:
    """Convert the name of a site as ``a2dissite`` takes it, with or without ``.conf``."""
    return _site(text).removesuffix(".conf")


def daemon_options(text: str) -> tuple[tuple[str, str], ...]:
    """Convert ``name = value`` on each line."""
    given = dict(converters.pairs(_daemon_value)(text))
    for name in given:
        if name not in DAEMON and name not in _MORE_DAEMON:
            raise converters.refuse("an option of WSGIDaemonProcess that has none here", name)
    return tuple(given.items())


def daemon(given: tuple[tuple[str, str], ...], threads: int, timeout: int) -> dict[str, str]:
    """Return the options of a daemon process: ``given`` ones override the defaults.

    :param timeout: seconds that Apache waits for the process, and it for Apache

    mod_wsgi 6 multiplies ``request-timeout`` by 1 + ln(threads) (``wsgi_daemon.c``);
    mod_wsgi 4 compares it with the average of all threads.
    """
    scaled = round(LONGEST_REQUEST / (1 + math.log(threads)))
    own = {"socket-timeout": str(timeout), "request-timeout": str(scaled)}
    return {**DAEMON, **own, **dict(given)}


def websockets(text: str) -> tuple[str, ...]:
    """Convert URL paths, each once; the most specific one comes first."""
    found = [_url(word) for word in text.split()]
    for url in found:
        if found.count(url) > 1:
            raise converters.refuse("each URL path once", url)
    return tuple(sorted(found, key=lambda url: (-len(url), url)))


def static(text: str) -> tuple[tuple[str, Path], ...]:
    """Convert ``/url = folder`` on each line; the most specific URL comes first."""
    found = [(_url(url), folder) for url, folder in converters.pairs(converters.path)(text)]
    urls = [url for url, _ in found]
    for url in urls:
        if urls.count(url) > 1:
            raise converters.refuse("each URL path once", url)
    return tuple(sorted(found, key=lambda pair: (-len(pair[0]), pair[0])))


def static_problems(static: tuple[tuple[str, Path], ...], sandbox: Path) -> Iterator[str]:
    """Yield what is wrong with folders that Apache is to serve."""
    for _, folder in static:
        if sandbox.is_relative_to(folder):
            yield f"expected a folder that does not hold the sandbox, got '{folder}'"
        if set("*?[]") & set(str(folder)):
            yield f"expected a folder without *, ?, [ and ], got '{folder}'"


def group(value: str) -> str | None:
    """Accept the name of a group on this machine; empty means the user's own."""
    if not value:
        return None
    try:
        return grp.getgrnam(value).gr_name
    except (KeyError, ValueError):
        raise converters.refuse("an existing group", value) from None


def longest_run_folder(folder: Path, name: str) -> int:
    """Return the longest path for a site's sockets, if ``folder`` is longer; else 0."""
    longest = LONGEST_SOCKET_PREFIX - len(name) - 1
    return longest if len(os.fsencode(folder)) > longest else 0


def proxies(text: str) -> tuple[str, ...]:
    """Accept addresses and networks, as ``10.0.0.5`` and ``10.0.0.0/8``, between white space."""
    found = []
    for word in text.split():
        try:
            network = ipaddress.ip_network(word, strict=False)
        except ValueError:
            raise converters.refuse("an address or a network such as 10.0.0.0/8", word) from None
        found.append(str(network.network_address) if "/" not in word else str(network))
    return tuple(found)


def from_any(addresses: tuple[str, ...]) -> str:
    """Return Apache's expression for a connection from one of ``addresses``."""
    matches = [f"%{{CONN_REMOTE_ADDR}} -ipmatch '{one}'" for one in addresses]
    return f"({' || '.join(matches)})"


LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
"""Names by which people on the machine try a site."""


def host_pattern(names: Iterable[str]) -> str:
    """Return a regular expression for the names of a virtual host, in which * and ? may stand."""
    spelled = (re.escape(name.rstrip(".")) for name in dict.fromkeys((*names, *LOCAL_HOSTS)))
    return "|".join(name.replace(r"\*", ".*").replace(r"\?", ".") for name in spelled)


HOSTS_REFUSED = (
    "from the next release on, a request for another host name than server-name and server-alias "
    "is refused; to serve them as before: unknown-hosts = serve"
)


def serves_any_host(site_file: Path) -> bool:
    """Return whether a site file is there that does not look at the name of the host."""
    try:
        return "%{HTTP_HOST}" not in site_file.read_text(encoding="utf-8")
    except OSError:
        return False


def expect_no_pattern(path: Path) -> Path:
    """Return ``path``; refuse one that ``<Directory>`` would take for a pattern."""
    if re.search(r"[*?\[\]]", str(path)):
        raise ValueError(f"{path}: Apache's <Directory> would take this for a pattern")
    return path


def modules(options: Any) -> tuple[str, ...]:
    """Return the names, for a2enmod, of the modules that a site file needs."""
    needed = [
        "authz_core",
        "alias",
        "mime",
        "reqtimeout",
        "headers",
        "setenvif",
        *(("remoteip",) if options.trusted_proxies else ()),
        *MODULES_BY_MODE[options.mode],
    ]
    if options.mode == "proxy" and len(options.backends) > 1:
        needed += ["slotmem_shm", "proxy_balancer", f"lbmethod_{options.lbmethod}"]
    if options.ssl_certificate:
        needed += ["socache_shmcb", "ssl"]
    return tuple(dict.fromkeys([*needed, *options.extra_modules]))


def group_of(user: str, given: str | None) -> str:
    """Return the group of daemon processes: the account's, unless one is given."""
    return given or accounts.group(user)


def private_account(user: str, given: str | None) -> tuple[str, str]:
    """Return the account and group of a private Apache; never root's."""
    if not accounts.is_root(user):
        return user, group_of(user, given)
    for account in ("www-data", "nobody"):
        if accounts.entry(account):
            return account, accounts.group(account)
    raise ValueError("user: expected an account other than root, got 'root'")


def site_json(options: Any, server: str) -> str:
    """Return ``site.json``: what ``bin/pylonyard`` needs to activate and examine the site."""
    secure = options.ssl_certificate
    content = {
        "server": server,
        "mode": options.mode,
        "server-name": options.server_name,
        "listen": options.listen,
        "listen-port": options.listen_port,
        "ssl-port": options.ssl_port if secure else None,
        "ssl-certificate": str(secure) if secure else None,
        "ssl-key": str(options.ssl_key) if options.ssl_key else None,
        "modules": list(modules(options)),
        "disable-sites": list(options.disable_sites),
        "module": str(options.module) if options.mode != "proxy" else None,
    }
    return json.dumps(content, indent=2) + "\n"
