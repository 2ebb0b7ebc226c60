"""Secrets that stand where anybody may read them: told by their places, never by value.

buildout writes options into ``.installed.cfg``, which every account may read.
"""

import re
import shlex
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from pylonyard import values
from pylonyard.inifile import Setting
from pylonyard.secret_store import Origin

PAGE = "docs/secrets.rst"

# The last words of a key; "token_timeout" and "password_min_length" are no secrets.
_NAMES = re.compile(
    r"(?:.*[._ -])?(?:password|passwd|passphrase|pwd|secret|token|apikey"
    r"|(?:api|secret|private|access|validate|encrypt|signing)[._ -]?key)",
    re.IGNORECASE,
)
_PASSWORD_IN_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#:@]*:([^\s/?#]+)@")
_REFERENCES = re.compile(r"<secret:[^<>]*>|(?<!%)%\([^()]*\)s")
_NO_SECRET = re.compile(
    r"true|false|yes|no|on|off|none|null"  # whether there is to be one
    r"|[A-Za-z_]\w*(\.[A-Za-z_]\w*)+:[A-Za-z_]\w*"  # what makes one
    r"|[A-Za-z][A-Za-z0-9+.-]*://\S*"  # where one is had
    r"|\.{0,2}/[\w./+@-]+\.\w+",  # a file
    re.IGNORECASE,
)


def has_password(value: str) -> bool:
    """Tell whether a URL in ``value`` has a password that is no reference."""
    found = _PASSWORD_IN_URL.finditer(value)
    return any(_REFERENCES.sub("", match.group(1)) for match in found)


def is_plain(key: str, value: str) -> bool:
    """Tell whether a setting has a secret as it is."""
    if has_password(value):
        return True
    if not _NAMES.fullmatch(key):
        return False
    rest = _REFERENCES.sub("", value).strip()
    return bool(rest) and rest == value.strip() and not _NO_SECRET.fullmatch(rest)


def in_url(option: str) -> str:
    """Return what is wrong with an option whose URL has a password."""
    return (
        f"{option}: expected no password as it is, which .installed.cfg would show to anybody; "
        "put it into a file of your own and declare that: secrets = database-password = "
        f"file:PATH, with <secret:database-password:url> in its place ({PAGE})"
    )


def in_settings(settings: Iterable[Setting], option: str) -> Iterator[str]:
    """Yield what is wrong with settings that have a secret as it is."""
    for each in settings:
        if is_plain(each.key, each.value):
            name = re.sub(r"[^a-z0-9]+", "-", each.key.lower()).strip("-")
            reference = f"<secret:{name}{':url' if has_password(each.value) else ''}>"
            yield (
                f"{option}: [{each.section}] {each.key}: expected no secret as it is, which "
                "others may read; put it into a file of your own and declare that: secrets = "
                f"{name} = file:PATH, with {reference} in its place ({PAGE})"
            )


def in_open_files(origins: Iterable[tuple[str, Origin]]) -> Iterator[str]:
    """Yield which files of secrets every account may read."""
    for name, origin in origins:
        if origin.kind != "file":
            continue
        path = values.path(origin.place)
        with suppress(OSError):
            mode = path.stat().st_mode
            if stat.S_ISREG(mode) and mode & stat.S_IROTH:
                yield (
                    f"secrets: {name}: expected a file that others cannot read, got mode "
                    f"{stat.S_IMODE(mode):04o}: {_closing(path)}"
                )


def _closing(path: Path) -> str:
    return f"chmod o-rwx {shlex.quote(str(path))}"
