"""Read ``server.json`` into typed, frozen settings."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pylonyard.system import options, safe_files
from pylonyard.system.errors import NOT_CONFIGURED, ServerError


def text(value: object) -> str:
    """Return ``value`` if it is a text without null characters."""
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(f"expected a text, got {value!r}")
    return value


def path(value: object) -> Path:
    if not text(value).startswith("/"):
        raise ValueError(f"expected an absolute path, got {value!r}")
    return Path(text(value))


def site_name(value: object) -> str:
    if not text(value).replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise ValueError(f"expected letters, digits and .-_, got {value!r}")
    return text(value)


def url_path(value: object) -> str:
    found = text(value)
    if not (found.startswith("/") and found.isprintable() and found.isascii()) or " " in found:
        raise ValueError(f"expected the path of an URL, got {value!r}")
    return found


def octal(value: object) -> int:
    try:
        return int(text(value), 8)
    except ValueError:
        raise ValueError(f"expected octal digits, got {value!r}") from None


def boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, got {value!r}")
    return value


def positive(value: object) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(f"expected a number above 0, got {value!r}")
    return value


def port_number(value: object) -> int:
    if type(value) is not int or not 1 <= value <= 65535:
        raise ValueError(f"expected a number from 1 to 65535, got {value!r}")
    return value


def command(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f"expected a list of words, got {value!r}")
    return tuple(text(word) for word in value)


def variables(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError(f"expected names and values, got {value!r}")
    return {text(name): text(content) for name, content in value.items()}


def setting(convert: Callable[[object], Any], default: Any = None) -> Any:
    """Declare a setting; it is required without a ``default`` (a value as in JSON)."""
    return options.declare(convert, default)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one site; in ``server.json`` their names have ``-`` for ``_``."""

    name: str = setting(site_name)
    """The site, as messages call it."""
    sandbox: Path = setting(path)
    """The sandbox; its real path distinguishes sites of the same name."""
    user: str = setting(text, "")
    """Account that everything runs as; empty for the caller's."""
    paster: Path = setting(path)
    """The ``paster`` script of the application's environment."""
    python: str = setting(text, "")
    """The application's interpreter; empty for the one in paster's first line."""
    ini: Path = setting(path)
    host: str = setting(text, "127.0.0.1")
    port: int = setting(port_number)
    mode: str = setting(text, "proxy")
    """``proxy`` (the site's own server), ``mod_wsgi`` or ``embedded`` (a web server)."""
    overlap: bool = setting(boolean, True)
    """False if the old server has to end before a new one starts."""
    check_path: str = setting(url_path, "/")
    """Path of the URL that a healthy server answers, with any status."""
    start_timeout: int = setting(positive, 60)
    """Seconds from its start until the server has to answer."""
    stop_timeout: int = setting(positive, 30)
    """Seconds that requests in flight are given to finish."""
    hang_timeout: int = setting(positive, 10)
    """Seconds that ``ensure`` waits for one answer."""
    hang_tries: int = setting(positive, 3)
    """Requests without an answer after which ``ensure`` restarts."""
    umask: int = setting(octal, "022")
    open_files: int = setting(positive, 4096)
    environment: dict[str, str] = setting(variables, {})
    deployment: str = setting(text, "")
    """``development``, ``staging`` or ``production``; empty if an older Pylonyard made it."""
    reload: bool = setting(boolean, False)
    """True if ``fg`` reloads changed code."""
    shell: tuple[str, ...] = setting(command, [])
    setup: tuple[str, ...] = setting(command, [])
    log: Path = setting(path)
    """Output of the server, and the supervisor's lines."""
    application_log: Path = setting(path)
    run: Path = setting(path)
    data: Path = setting(path)
    """Working directory of the server."""
    source: Path
    """The file that these settings came from."""

    @property
    def identity(self) -> str:
        """Return the mark of the processes of this site, in this sandbox."""
        return f"{self.sandbox.resolve()}:{self.name}"

    @property
    def handover(self) -> Path:
        """Return the folder of the Unix sockets at which supervisors hand over their sockets."""
        return self.run / f"{self.name}.handover"

    @property
    def own_places(self) -> tuple[Path, ...]:
        """Return the paths in the sandbox that only this site's processes work in or write."""
        home = self.sandbox.resolve()
        real = (self.log.resolve(), self.data.resolve())
        return tuple(place for place in real if place.is_relative_to(home))

    @property
    def address(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}{self.check_path}"


def relocate(settings: Settings, place: Callable[[Path], Path]) -> Settings:
    """Return ``settings`` with each path replaced by what ``place`` returns for it."""
    paths: dict[str, Any] = {
        field.name: place(value)
        for field in dataclasses.fields(settings)
        if isinstance(value := getattr(settings, field.name), Path)
    }
    return dataclasses.replace(settings, **paths)


def load(source: Path) -> Settings:
    """Return the settings in the file ``source``.

    :raises ServerError: in one line that names all problems of the file
    """
    try:
        values = safe_files.json_object(source.read_bytes())
    except OSError as error:
        message = f"cannot read {source}: {error.strerror}"
        raise ServerError(message, NOT_CONFIGURED) from error
    except safe_files.DamagedError as error:
        raise ServerError(f"{source}: {error}", NOT_CONFIGURED) from error
    return parse(values, source)


def parse(values: Mapping[str, object], source: Path) -> Settings:
    """Convert ``values`` to settings; ignore names that we do not know.

    :raises ServerError: naming every missing or malformed setting
    """
    settings, problems = options.converted(Settings, values)
    if problems:
        listed = "; ".join(f"{name}: {problem}" for name, problem in problems.items())
        raise ServerError(f"{source}: {listed}", NOT_CONFIGURED)
    return Settings(**settings, source=source)
