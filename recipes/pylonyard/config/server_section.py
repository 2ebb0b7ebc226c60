"""Write the section of an ini that starts the application's own server.

First counts what the user set, then what the author of the template wrote, then our defaults.
The address is laid over all of it: a web server asks there.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pylonyard.config.ini import Ini

SECTION = "server:main"
DEFAULT_SERVER = "egg:waitress#main"
DEFAULT_THREADS = 4
DEFAULT_TIMEOUT = 60

PASTE = "egg:paste"
WAITRESS = "egg:waitress"

# The option of a server for its threads.
_THREADS = {
    WAITRESS: "threads",
    PASTE: "threadpool_workers",
    "egg:gunicorn": "threads",
    "egg:pastescript": "numthreads",
}

# What a template may say about the address, beside host and port. Waitress refuses them together.
_OTHER_ADDRESSES = ("listen", "bind", "unix_socket", "unix_socket_perms", "sockets", "fd")

OPEN_WARNING = (
    "the server does not learn from a web server who asks and by which scheme, since others than "
    "this machine's programs reach it: set host = 127.0.0.1, or server = egg:waitress#main"
)

PASTE_WARNING = (
    "Paste's server is for development: a client that sends slowly keeps a thread, unless a web "
    "server is in front; to use another one: server = egg:waitress#main"
)


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """What the user and the run say about a server."""

    use: str
    """The server, such as ``egg:waitress#main``; empty for the template's."""
    threads: int | None
    """None for the template's."""
    host: str
    port: int
    timeout: int | None = None
    """Seconds that the web server waits for an answer; None where nobody set them."""
    max_body: int | None = None
    """The largest body in bytes that the web server lets through, 0 for any."""
    prefix: str = ""
    """The URL path below which the web server serves the application."""
    is_proxied: bool = True
    """Whether a web server asks it."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """What has become of a template's section."""

    use: str
    kept: Mapping[str, str]
    """What the template's author wrote and still counts."""
    address: tuple[str, ...]
    """What was laid over it of the address, ``key = new (was old)`` each."""
    replaced: tuple[str, ...]
    """The rest that was laid over it, or left out."""


def kind(use: str) -> str:
    """Return ``egg:name``, in lower case, of a server; whatever follows # is left out."""
    return use.partition("#")[0].strip().lower()


def write_section(config: Ini, options: ServerOptions) -> Written:
    """Write the section of the server."""
    author = {s.key: s.value for s in config.settings() if s.section == SECTION}
    runner = next((key for key in author if key.startswith("paste.server_")), "")
    wanted = author.get("use") or ("" if runner else DEFAULT_SERVER)
    # Where a web server runs the application, nothing has to be installed for the section.
    use = options.use or (wanted if options.is_proxied else DEFAULT_SERVER)
    is_authors = _is_authors(use, author, runner)
    # Gunicorn joins the two itself.
    in_brackets = ":" in options.host and kind(use) == "egg:gunicorn"
    host = f"[{options.host}]" if in_brackets else options.host
    address = {"host": host, "port": str(options.port)}
    left_out = [
        key
        for key in author
        if key not in ("use", *address) and (key in _OTHER_ADDRESSES or not is_authors)
    ]
    for key in left_out:
        config.remove(SECTION, key)
    chosen = {"use": use} if use else {}
    given = {}
    if options.threads is not None and kind(use) in _THREADS:
        given[_THREADS[kind(use)]] = str(options.threads)
    for key, value in {**chosen, **address, **given}.items():
        config.set(SECTION, key, value)
    for key, value in _defaults(use, options, author if is_authors else {}).items():
        if config.get(SECTION, key) is None:
            config.set(SECTION, key, value)
    return Written(
        use=use,
        kept={key: held for key, held in author.items() if config.get(SECTION, key) == held},
        address=(
            *_laid_over(author, address),
            *_left_out([key for key in left_out if key in _OTHER_ADDRESSES]),
        ),
        replaced=(
            *_laid_over(author, {**chosen, **given}),
            *_left_out([key for key in left_out if key not in _OTHER_ADDRESSES]),
        ),
    )


def _is_authors(use: str, author: Mapping[str, str], runner: str) -> bool:
    """Return whether the options that the author wrote are for the server that is used."""
    if runner:
        return not use
    return not author.get("use") or kind(use) == kind(author["use"])


def _laid_over(author: Mapping[str, str], ours: Mapping[str, str]) -> list[str]:
    return [
        f"{key} = {value} (was {author[key]})"
        for key, value in ours.items()
        if key in author and author[key] != value
    ]


def _left_out(keys: list[str]) -> list[str]:
    return [f"{key} is left out" for key in keys]


def _defaults(use: str, options: ServerOptions, author: Mapping[str, str]) -> Mapping[str, str]:
    """Return our defaults for a server that has options of the author as well."""
    threads = options.threads or DEFAULT_THREADS
    if kind(use) == WAITRESS:
        return {"threads": str(threads), **_waitress(options, author)}
    if kind(use) == PASTE:
        given = author.get("threadpool_workers", "")
        workers = int(given) if given.isdigit() else threads
        return {
            "use_threadpool": "true",
            "threadpool_workers": str(threads),
            # Paste wants it below the number of workers, and its default is 5.
            "threadpool_spawn_if_under": str(min(5, workers - 1)),
            # The default of 5 pending connections costs a second under load.
            "request_queue_size": "1024",
        }
    if kind(use) == "egg:gunicorn" and options.is_proxied:
        # After its own 30 seconds it kills a worker that the web server still waits for.
        return {"timeout": str(options.timeout or DEFAULT_TIMEOUT)}
    return {}


def _waitress(options: ServerOptions, author: Mapping[str, str]) -> Mapping[str, str]:
    found = {}
    if not any(key.startswith("trusted_proxy") for key in author):
        # A web server connects from loopback, and sends the scheme and the client's address. Since
        # version 1.2 waitress believes only a proxy that is named here; it drops forged headers.
        found["trusted_proxy"] = "::1" if options.host == "::1" else "127.0.0.1"
        found["trusted_proxy_headers"] = "x-forwarded-for x-forwarded-proto"
    if options.is_proxied:
        if options.prefix:
            found["url_prefix"] = options.prefix
        if options.max_body is not None:  # it refuses what has just this length
            found["max_request_body_size"] = str((options.max_body or sys.maxsize - 1) + 1)
        if options.timeout is not None:
            found["channel_timeout"] = str(options.timeout)
    return found


def chunked_bodies(config: Ini) -> str:
    """Return whether a web server may ``pass`` bodies without a length, or must ``refuse`` them.

    Only of waitress is it known that it takes them, and how many bytes.
    """
    is_waitress = kind(config.get(SECTION, "use") or "") == WAITRESS
    is_limited = config.get(SECTION, "max_request_body_size") is not None
    return "pass" if is_waitress and is_limited else "refuse"


# What any other server than waitress does not know of the web server in front.


def add_filter(config: Ini, section: str, name: str, prefix: str) -> None:
    """Have ``name`` serve what ``section`` does, and learn from the web server who asks.

    The section itself stays as it is: setup-app takes no application with a filter.

    :param prefix: the URL path below which the web server serves it
    """
    place = f"filter-app:{name}"
    config.set(place, "use", "egg:PasteDeploy#prefix")
    config.set(place, "next", section.partition(":")[2].strip() or "main")
    if prefix:
        config.set(place, "prefix", prefix)


def is_loopback(host: str) -> bool:
    """Return whether only programs of this machine reach a server at ``host``."""
    return host in ("localhost", "::1") or host.startswith("127.")


def told(written: Written, source: str, *, has_author: bool) -> Iterator[str]:
    """Yield the line about what was laid over an author's section.

    :param source: where the section is from
    :param has_author: whether a person wrote its address; that of an installer is an example
    """
    if laid := [*(written.address if has_author else ()), *written.replaced]:
        sets = "[ini] sets it: server, host, port, threads"
        yield f"[{SECTION}] of {source}: {', '.join(laid)}; {sets}"


def changed(before: Ini, now: Ini, written: Written, name: str) -> Iterator[str]:
    """Yield the line about what a site's server does otherwise, as the template's author wants it.

    :param before: the configuration that the site runs with
    """
    old = {s.key: s.value for s in before.settings() if s.section == SECTION}
    if not old.get("use") or not written.use:
        return
    if old["use"] != written.use and "use" in written.kept:
        yield (
            f"{name}: the next release runs {written.use}, as its template says, in place of "
            f"{old['use']}; to keep that: [ini] server = {old['use']}"
        )
        return
    new = {
        key: held
        for key, held in written.kept.items()
        if now.get(SECTION, key) == held and old.get(key) != held and old["use"] == written.use
    }
    if new:
        keep = [f"{key} = {old[key]}" for key in new if key in old]
        way = f": {'; '.join(keep)}" if keep else ""
        yield (
            f"{name}: its server gets {', '.join(f'{key} = {new[key]}' for key in new)}, as its "
            f"template says; [ini] settings override it, in [{SECTION}]{way}"
        )
