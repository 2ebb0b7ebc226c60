"""Secrets: generated once or read, kept at 0600, put into the ini and nowhere else.

A secret is declared as ``name = generate``, ``name = file:PATH`` or
``name = env:VARIABLE``, and referred to as ``<secret:name>``, or as
``<secret:name:url>`` inside a URL, which percent-encodes it.  No secret is ever
a buildout option: buildout writes options to a file that anybody may read.
"""

import os
import re
import secrets
import shlex
import stat
import urllib.parse
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pylonyard.config import converters
from pylonyard.config.ini import Setting
from pylonyard.config.layout import page
from pylonyard.config.run_state import RunState
from pylonyard.system import safe_files
from pylonyard.system.errors import PylonyardError

_REFERENCE = re.compile(r"<secret:([A-Za-z0-9_.-]+)(:url)?>")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
# What is left if a file is cut; a person's own secret is hardly ever that.
_CUT = {"generate": re.compile("[0-9a-f]{1,63}"), "uuid": re.compile("[0-9a-f-]{1,35}")}


class SecretError(PylonyardError, ValueError):
    """A secret cannot be read or made; the message never shows one."""


@dataclass(frozen=True)
class Origin:
    """The origin of a secret: ``generate``, ``uuid``, ``file`` or ``env``."""

    kind: str
    place: str = ""


def origin(text: str) -> Origin:
    """Convert the text of a declaration."""
    kind, _, place = text.partition(":")
    if (kind in ("file", "env") and place) or (kind in ("generate", "uuid") and not place):
        (converters.path if kind == "file" else converters.text)(place)
        return Origin(kind, place)
    raise converters.refuse("generate, uuid, file:PATH or env:VARIABLE", text)


class SecretStore:
    """The secrets of one site, in a folder of their own."""

    def __init__(
        self,
        folder: Path,
        origins: Mapping[str, Origin],
        environ: Mapping[str, str] = os.environ,
        run: RunState | None = None,
    ) -> None:
        """:param run: records the inputs of the secrets"""
        if bad := [name for name in origins if not _NAME.fullmatch(name)]:
            raise SecretError(f"expected names of letters, digits, _, . and -, got {bad[0]!r}")
        self._folder = folder
        self._origins = origins
        self._environ = environ
        self._run = run or RunState()

    def fill(self, text: str, spell: Callable[[str, str], str] = converters.ini) -> str:
        """Return ``text`` with each reference replaced by its secret.

        :param spell: is called with a secret and the line that gets it

        :raises SecretError: naming every secret that is not declared
        """
        names = {match.group(1) for match in _REFERENCE.finditer(text)}
        if unknown := sorted(names - set(self._origins)):
            raise SecretError(
                f"expected declared secrets ({', '.join(sorted(self._origins))}), "
                f"got {', '.join(unknown)}"
            )
        found = {name: self.value(name) for name in sorted(names)}

        def secret(match: re.Match[str]) -> str:
            value = found[match.group(1)]
            start, end = text.rfind("\n", 0, match.start()) + 1, text.find("\n", match.end())
            line = text[start : None if end < 0 else end]
            return spell(urllib.parse.quote(value, safe="") if match.group(2) else value, line)

        try:
            return _REFERENCE.sub(secret, text)
        except ValueError:
            # The escaper's message would tell the secret.
            raise SecretError("a secret has a character that an ini file cannot hold") from None

    def value(self, name: str) -> str:
        """Return a secret, and keep it."""
        given = self._given(name, self._origins[name])
        try:
            return self._kept(name, given)
        except (OSError, UnicodeError) as error:
            problem = f"{name}: cannot keep it in {self._folder}: {_why(error)}"
            raise SecretError(problem) from error

    def _kept(self, name: str, given: str | None) -> str:
        place = self._folder / name
        self._run.note_file(place)
        kept = safe_files.read(place)
        if given is None and kept is not None:
            return self._whole(name, kept.decode("utf-8").rstrip("\n"))
        if given is None:
            given = self._generated(name, self._origins[name])
        if kept != given.encode():
            safe_files.write(place, given.encode(), 0o600, folder_mode=0o700)
            self._run.note_file(place, written=True)
        return given

    def _whole(self, name: str, kept: str) -> str:
        """Return a stored secret; refuse a generated one that was truncated."""
        cut = _CUT.get(self._origins[name].kind)
        if not kept or (cut and cut.fullmatch(kept)):
            raise SecretError(
                f"{name}: expected a complete secret in {self._folder / name}, got {len(kept)} "
                "characters; write one there, or move the file elsewhere to have one made"
            )
        return kept

    def _given(self, name: str, source: Origin) -> str | None:
        if source.kind == "env":
            self._run.note_variables(source.place)
            return self._environ.get(source.place) or None
        if source.kind == "file":
            try:
                path = converters.path(source.place)
                self._run.note_file(path)
                text = path.read_text(encoding="utf-8-sig").strip()
            except (OSError, UnicodeError) as error:
                raise SecretError(f"{name}: cannot read {source.place}: {_why(error)}") from error
            if not text:
                raise SecretError(f"{name}: {source.place} is empty")
            return text
        return None

    def _generated(self, name: str, source: Origin) -> str:
        if source.kind == "env":
            raise SecretError(
                f"{name}: expected the environment variable {source.place}, which is not set"
            )
        return str(uuid.uuid4()) if source.kind == "uuid" else secrets.token_hex(32)


def _why(error: OSError | UnicodeError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "it is not UTF-8"


# Secrets that anybody may read: reported by their places, never by value.
#
# buildout writes options into ``.installed.cfg``, which every account may read.


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
    r"|[A-Za-z][A-Za-z0-9+.-]*://\S*"  # which says where to get one
    r"|\.{0,2}/[\w./+@-]+\.\w+",  # a file
    re.IGNORECASE,
)


def has_password(value: str) -> bool:
    """Return whether a URL in ``value`` has a password that is no reference."""
    found = _PASSWORD_IN_URL.finditer(value)
    return any(_REFERENCES.sub("", match.group(1)) for match in found)


def is_plain(key: str, value: str) -> bool:
    """Return whether a setting has a secret in plain text."""
    if has_password(value):
        return True
    if not _NAMES.fullmatch(key):
        return False
    rest = _REFERENCES.sub("", value).strip()
    return bool(rest) and rest == value.strip() and not _NO_SECRET.fullmatch(rest)


def in_url(option: str) -> str:
    """Return the problem of an option whose URL has a password."""
    return (
        f"{option}: expected no password in plain text, as anybody may read .installed.cfg; "
        "put it into a file of your own and declare that: secrets = database-password = "
        f"file:PATH, with <secret:database-password:url> in its place ({page('Secrets')})"
    )


def in_settings(settings: Iterable[Setting], option: str) -> Iterator[str]:
    """Yield the problem of each setting with a secret in plain text."""
    for each in settings:
        if is_plain(each.key, each.value):
            name = re.sub(r"[^a-z0-9]+", "-", each.key.lower()).strip("-")
            reference = f"<secret:{name}{':url' if has_password(each.value) else ''}>"
            yield (
                f"{option}: [{each.section}] {each.key}: expected no plain secret, which "
                "others may read; put it into a file of your own and declare that: secrets = "
                f"{name} = file:PATH, with {reference} in its place ({page('Secrets')})"
            )


def in_open_files(origins: Iterable[tuple[str, Origin]]) -> Iterator[str]:
    """Yield the problem of each file of a secret that every account may read."""
    for name, origin in origins:
        if origin.kind != "file":
            continue
        path = converters.path(origin.place)
        with suppress(OSError):
            mode = path.stat().st_mode
            if stat.S_ISREG(mode) and mode & stat.S_IROTH:
                yield (
                    f"secrets: {name}: expected a file that others cannot read, got mode "
                    f"{stat.S_IMODE(mode):04o}: {_closing(path)}"
                )


def _closing(path: Path) -> str:
    return f"chmod o-rwx {shlex.quote(str(path))}"
