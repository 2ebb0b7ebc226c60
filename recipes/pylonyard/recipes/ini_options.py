"""The options of ``production_ini``, and how each changes the ini file."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pylonyard.config import converters
from pylonyard.config.converters import requirement
from pylonyard.config.ini import (
    Application,
    Ini,
    Setting,
    applications,
    encode,
    fragment,
    main_section,
)
from pylonyard.config.secret_store import Origin, origin
from pylonyard.config.server_section import (
    WAITRESS,
    ServerOptions,
    Written,
    add_filter,
    is_loopback,
    kind,
    write_section,
)
from pylonyard.recipes.base import PROXY, option
from pylonyard.server import environment

DATABASE_KEYS = ("sqlalchemy.url", "sqlalchemy_url", "sqlalchemy.default.url")
PLACEHOLDER_EMAIL = "you@yourdomain.com"
LOG_HANDLER = "logfile"

STANDARD_LOGGING = {
    "loggers": {"keys": "root"},
    "handlers": {"keys": LOG_HANDLER},
    "formatters": {"keys": "generic"},
    "logger_root": {"level": "INFO", "handlers": LOG_HANDLER},
    "formatter_generic": {
        "format": "%(asctime)s %(levelname)-5.5s [%(name)s][%(threadName)s] %(message)s"
    },
}


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What has become of a template."""

    section: str
    """The section that is served."""
    applications: tuple[Application, ...]
    server: Written
    believes_nobody: bool
    """Whether the server must not believe what a web server says, as others reach it as well."""


def apply_options(config: Ini, options: "Options") -> Applied:
    """Set the options in ``config``; keys that it has keep their places."""
    section = main_section(config, options.section)
    found = applications(config, section)
    configuring = list(dict.fromkeys([section, *(one for each in found for one in each)]))
    _debug(config, configuring, options.debug)
    server = write_section(
        config,
        ServerOptions(
            use=options.server or "",
            threads=options.threads,
            host=options.host.strip("[]"),
            port=options.port,
            timeout=options.timeout,
            max_body=options.max_body,
            prefix=options.prefix or "",
            is_proxied=options.mode == "proxy",
        ),
    )
    knows = kind(server.use) == WAITRESS
    is_open = not knows and not is_loopback(options.host.strip("[]"))
    if options.mode == "proxy" and not knows and not is_open:
        add_filter(config, section, environment.BEHIND_WEB_SERVER, options.prefix or "")
    _error_mail(config, configuring, options)
    if options.database_url:
        _database(config, section, found, options)
    _logging(config, options)
    return Applied(
        section=section, applications=tuple(found), server=server, believes_nobody=is_open
    )


def _debug(config: Ini, sections: list[str], debug: bool) -> None:
    value = str(debug).lower()
    config.set("DEFAULT", "debug", value)
    for section in sections:
        for key in ("debug", "set debug"):
            if config.get(section, key) is not None:
                config.set(section, key, value)


def _database(config: Ini, section: str, found: list[Application], options: "Options") -> None:
    """Set the URL where the applications have one; else in the section of the only one.

    :raises ValueError: if there are several, and none has one
    """
    url = (options.database_url or "").replace("%(here)s", str(options.data))
    value = encode(config, "database-url", url)
    places = [
        (place, key)
        for place in dict.fromkeys(one for each in found for one in each)
        for key in DATABASE_KEYS
        if config.get(place, key) is not None
    ]
    if not places and len(found) != 1:
        names = ", ".join(each[0] for each in found) or "none in this file"
        raise ValueError(
            f"section: expected the one that database-url is for, as [{section}] leads to {names}"
        )
    for place, key in places or [(found[0][0], DATABASE_KEYS[0])]:
        config.set(place, key, value)


def _error_mail(config: Ini, sections: list[str], options: "Options") -> None:
    wanted: dict[str, Any] = {
        "email_to": " ".join(options.email_to),
        "smtp_server": options.smtp_server,
        "error_email_from": options.error_email_from,
    }
    for key, value in wanted.items():
        places = [s for s in ("DEFAULT", *sections) if config.get(s, key) is not None]
        if value and options.email_to:
            for place in places or ["DEFAULT"]:
                config.set_text(place, key, value)
        elif key == "email_to":
            _clear_placeholder(config, places)


def _clear_placeholder(config: Ini, places: list[str]) -> None:
    """Clear a template's example address, so that no stranger gets error reports."""
    for place in places:
        if config.get(place, "email_to") == PLACEHOLDER_EMAIL:
            config.set(place, "email_to", "")


def _logging(config: Ini, options: "Options") -> None:
    """Send the console's log to the log file."""
    if config.get("loggers", "keys") is None:
        for section, settings in STANDARD_LOGGING.items():
            for key, value in settings.items():
                config.set(section, key, value)
    else:
        _redirect_console(config)
    config.set("logger_root", "level", options.log_level)
    formatter = (config.get("formatters", "keys") or "").partition(",")[0].strip()
    handler = f"handler_{LOG_HANDLER}"
    # It reopens the file after logrotate has moved it; in Python since 2.6.
    config.set(handler, "class", "handlers.WatchedFileHandler")
    args = f"({converters.python(options.log_file)}, 'a')"
    config.set(handler, "args", encode(config, "log-file", args))
    config.set(handler, "level", "NOTSET")
    if formatter:
        config.set(handler, "formatter", formatter)


def _redirect_console(config: Ini) -> None:
    handlers = _split_list(config.get("handlers", "keys") or "")
    if LOG_HANDLER not in handlers:
        config.set("handlers", "keys", ", ".join([*handlers, LOG_HANDLER]))
    for section in config.sections():
        named = config.get(section, "handlers")
        if section.startswith("logger_") and named is not None:
            words = [LOG_HANDLER if word == "console" else word for word in _split_list(named)]
            config.set(section, "handlers", ", ".join(dict.fromkeys(words)))


def _split_list(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def settings_fragment(text: str) -> tuple[Setting, ...]:
    """Convert an ini fragment, with ``%(here)s`` and ``<secret:...>`` as they are."""
    for line in text.split("\n"):
        # Python 2 reads bytes: a no-break space would be a part of the value.
        if any(part.strip() != part.strip(" \t") for part in re.split("[=:]", line, maxsplit=1)):
            raise converters.refuse("no white space but blanks around names and values", line)
    return tuple(fragment(text))


OWN_FILES = {
    "bin",
    "dispatch.wsgi",
    "env",
    "production.ini",
    "server.json",
    "site.json",
}
"""Names in the folder of a site in a release."""


def relative_file(text: str) -> str:
    """Accept the path of a file, relative to the folder of the template."""
    name = os.path.normpath(text)
    if not re.fullmatch(r"[\w.-][\w./-]*", name) or name.split("/")[0] in {"..", "."}:
        raise converters.refuse("a path below the folder of the template, without blanks", text)
    if name.split("/")[0] in OWN_FILES:
        raise converters.refuse("another name than those of a release's own files", text)
    return name


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a section."""

    name: str = option(converters.site_name, kind="site name")
    """The site that this part belongs to."""
    home: Path | None = option(converters.optional(converters.path), default="", kind="path")
    """The environment: ``${app:home}``, or any other."""
    eggs: tuple[str, ...] = option(
        converters.lines(converters.requirement), default="${:egg}", kind="requirements, one a line"
    )
    """What to make an environment of, without ``home``; default: ``{default}``."""
    egg: str = option(requirement, kind="requirement")
    """The distribution whose installer makes the file: ``${app:application}``."""
    application: str = option(
        converters.matching(r"[A-Za-z0-9_.-]+", "a name"), default="main", kind="name"
    )
    """The application in that distribution."""
    template: Path | None = option(converters.optional(converters.path), default="", kind="path")
    """A file to start from, instead of the installer's."""
    files: tuple[str, ...] = option(
        converters.lines(relative_file), default="", kind="paths, one a line"
    )
    """Files that it names, relative to its folder: they are released with it, with secrets and
    ``%(here)s`` filled in as there."""
    section: str | None = option(
        converters.optional(converters.matching(r"[^\[\]\s]+", "a section such as app:main")),
        default="",
        kind="section of the ini",
    )
    """What is served; default: what PasteDeploy calls ``main``, of any kind, or the only
    ``app:*``."""
    environment: str = option(
        converters.one_of("development", "staging", "production"),
        default="production",
        kind="``development``, ``staging``, ``production``",
    )
    """Debug mode works in development only."""
    host: str = option(converters.host, default="127.0.0.1", kind="host", modes=PROXY)
    """The address where the server listens,"""
    port: int = option(converters.port, kind="TCP port")
    """and the port."""
    server: str | None = option(
        converters.optional(
            converters.matching(
                r"egg:[A-Za-z0-9._-]+(#[A-Za-z0-9._-]+)?", "egg:DISTRIBUTION#SERVER"
            )
        ),
        default="",
        kind="egg:name#server",
        modes=PROXY,
    )
    """The server, any ``paste.server_runner`` or ``paste.server_factory``; default: the
    template's, or ``egg:waitress#main``."""
    threads: int | None = option(
        converters.optional(converters.whole(1, 1000, "(threads)")),
        default="",
        kind="1 to 1000",
        modes=PROXY,
    )
    """Its threads; they share one interpreter, and few are faster than many. Default: the
    template's, or 4."""
    prefix: str | None = option(
        converters.optional(converters.url_path), default="", kind="URL path"
    )
    """The application is below it, as in ``[site]``."""
    timeout: int | None = option(
        converters.optional(converters.whole(1, 86400, "(seconds)")), default="", kind="seconds"
    )
    """How long the web server waits for an answer, as in ``[site]``,"""
    max_body: int | None = option(
        converters.optional(converters.whole(0, 999999999, "(bytes)")), default="", kind="bytes"
    )
    """and the largest body that it lets through; default: the server's own."""
    database_url: str | None = option(converters.optional(converters.text), default="", kind="URL")
    """SQLAlchemy's; default: the template's."""
    email_to: tuple[str, ...] = option(
        converters.listed(converters.email), default="", kind="addresses"
    )
    """Who gets error reports; default: nobody."""
    smtp_server: str = option(converters.host, default="localhost", kind="host")
    """The mail server for them."""
    error_email_from: str | None = option(
        converters.optional(converters.email), default="", kind="address"
    )
    """Their sender."""
    debug: bool = option(converters.boolean, default="false", kind="``true``, ``false``")
    """The debugger; development only."""
    log_file: Path = option(converters.path, default="var/log/${:name}.log", kind="path")
    """The application's own log; default: ``{default}``."""
    log_level: str = option(
        converters.one_of("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
        default="INFO",
        kind="level",
    )
    """Level of the root logger."""
    data: Path = option(converters.path, default="var/data/${:name}", kind="path")
    """The folder that replaces ``%(here)s`` in the template: a release holds no data; default:
    ``{default}``."""
    secrets_folder: Path = option(converters.path, default="var/secrets/${:name}", kind="path")
    """The folder of the secrets; default: ``{default}``."""
    secrets: tuple[tuple[str, Origin], ...] = option(
        converters.pairs(origin), default="", kind="name = origin, a line"
    )
    """Origins: ``generate``, ``uuid``, ``file:PATH``, ``env:VARIABLE``."""
    settings: tuple[Setting, ...] = option(settings_fragment, default="", kind="an ini fragment")
    """Settings that override all of this."""
    user: str = option(converters.account, default="", kind="account")
    """The account that reads the file; in mode ``embedded`` its group does as well."""
    mode: str = option(
        converters.one_of("proxy", "mod_wsgi", "embedded"),
        default="proxy",
        kind="``proxy``, ``mod_wsgi``, ``embedded``",
    )
    """As in ``[site]``."""
    setup: bool = option(converters.boolean, default="true", kind="``true``, ``false``")
    """Whether to run ``paster setup-app`` once for each new database; a distribution without an
    installer has nothing to run."""
