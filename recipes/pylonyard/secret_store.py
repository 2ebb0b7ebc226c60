"""Secrets: generated once or read, kept at 0600, put into the ini and nowhere else.

A secret is declared as ``name = generate``, ``name = file:PATH`` or
``name = env:VARIABLE``, and referred to as ``<secret:name>``, or as
``<secret:name:url>`` inside a URL, which percent-encodes it.  No secret is ever
a buildout option: buildout writes options to a file that anybody may read.
"""

import os
import re
import secrets
import urllib.parse
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pylonyard import escaping, settled, sure_folders, values

_REFERENCE = re.compile(r"<secret:([A-Za-z0-9_.-]+)(:url)?>")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
# What is left if a file is cut; a person's own secret is hardly ever that.
_CUT = {"generate": re.compile("[0-9a-f]{1,63}"), "uuid": re.compile("[0-9a-f-]{1,35}")}


class SecretError(ValueError):
    """A secret cannot be had; the message never tells one."""


@dataclass(frozen=True)
class Origin:
    """Where a secret comes from: ``generate``, ``uuid``, ``file`` or ``env``."""

    kind: str
    place: str = ""


def origin(text: str) -> Origin:
    """Convert the text of a declaration."""
    kind, _, place = text.partition(":")
    if (kind in ("file", "env") and place) or (kind in ("generate", "uuid") and not place):
        (values.path if kind == "file" else values.text)(place)
        return Origin(kind, place)
    raise values.refuse("generate, uuid, file:PATH or env:VARIABLE", text)


class SecretStore:
    """The secrets of one site, in a folder of their own."""

    def __init__(
        self,
        folder: Path,
        origins: Mapping[str, Origin],
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        if bad := [name for name in origins if not _NAME.fullmatch(name)]:
            raise SecretError(f"expected names of letters, digits, _, . and -, got {bad[0]!r}")
        self._folder = folder
        self._origins = origins
        self._environ = environ

    def fill(self, text: str, spell: Callable[[str, str], str] = escaping.ini) -> str:
        """Return ``text`` with each reference replaced by its secret.

        :param spell: gets a secret and the line that it is to stand in

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
        if watch := settled.watching():
            watch.named([place])
        kept = sure_folders.read(place)
        if given is None and kept is not None:
            return self._whole(name, kept.decode("utf-8").rstrip("\n"))
        if given is None:
            given = self._generated(name, self._origins[name])
        if kept != given.encode():
            sure_folders.write(place, given.encode(), 0o600, folder_mode=0o700)
        return given

    def _whole(self, name: str, kept: str) -> str:
        """Return a secret that was kept, unless it is what is left of a generated one."""
        cut = _CUT.get(self._origins[name].kind)
        if not kept or (cut and cut.fullmatch(kept)):
            raise SecretError(
                f"{name}: expected a whole secret in {self._folder / name}, got {len(kept)} "
                "characters; write one there, or move the file elsewhere to have one made"
            )
        return kept

    def _given(self, name: str, source: Origin) -> str | None:
        if source.kind == "env":
            settled.asked(source.place)
            return self._environ.get(source.place) or None
        if source.kind == "file":
            try:
                text = values.path(source.place).read_text(encoding="utf-8-sig").strip()
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
