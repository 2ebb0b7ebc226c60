"""The lines for Apache that a user writes, and the paths that they take from the application."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pylonyard.config import converters
from pylonyard.webservers.apache.config_lint import ConfigError, Directive, apache, parse

_LOGS = ("customlog", "errorlog", "forensiclog", "globallog", "transferlog")

_AT_START = {"ifdefine", "ifdirective", "iffile", "ifmodule", "ifsection", "ifversion"}
"""Sections that Apache evaluates when it starts, not for each request."""

_PREFIXES = {
    "alias",
    "proxypass",
    "redirect",
    "redirectpermanent",
    "redirecttemp",
    "scriptalias",
    "wsgiscriptalias",
}
_PATTERNS = {
    "aliasmatch",
    "proxypassmatch",
    "redirectmatch",
    "scriptaliasmatch",
    "wsgiscriptaliasmatch",
}
_IN_LOCATION = {"alias", "proxypass", "scriptalias", "sethandler"}
"""What serves the requests of the ``<Location>`` that it is in."""

_STATUS = re.compile(r"permanent|temp|seeother|gone|\d{3}", re.IGNORECASE)


def directives(text: str) -> tuple[str, ...]:
    """Accept lines for Apache that have no effect outside the virtual host."""
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text):
        raise converters.refuse("lines without control characters", text)
    if "${" in text:
        raise converters.refuse("directives without ${, which Apache would expand", text)
    lines = text.strip("\n").split("\n") if text.strip() else []
    try:
        for directive in parse("\n".join(lines)):
            if directive.name in ("<virtualhost", "define", "undefine"):
                raise converters.refuse("directives of a virtual host", directive.name)
    except ConfigError as error:
        raise ValueError(f"expected complete sections, got: {error}") from None
    return tuple(lines)


def problems(lines: Iterable[str], sandbox: Path) -> Iterator[str]:
    """Yield what is wrong with the logs of directives."""
    for one in parse("\n".join(lines)):
        if one.name in _LOGS and any(str(sandbox) in word for word in one.arguments):
            yield (
                "expected logs outside the sandbox, since root's Apache opens them, "
                f"got {' '.join(one.arguments)!r}"
            )


@dataclass(frozen=True)
class Taken:
    """Paths that a user's directive serves, so that the application does not."""

    line: int
    """The line, from 1, that begins the directive, or the section that it is in."""
    path: str
    """The path with all below it, or a regular expression."""
    is_pattern: bool

    @property
    def pattern(self) -> str:
        """Return a regular expression that matches at the start of a path."""
        if self.is_pattern:
            return self.path if self.path.startswith("^") else f".*(?:{self.path})"
        end = "" if self.path.endswith("/") else "(?:/|$)"
        return re.escape(self.path) + end


def taken(lines: Iterable[str]) -> Iterator[Taken]:
    """Yield the paths that directives serve in every mode, whatever the order of modules is."""
    opened: list[Directive] = []
    for one in parse("\n".join(lines)):
        del opened[len(one.sections) :]
        around = [each for each in opened if each.name[1:] not in _AT_START]
        if not around and one.name in _PREFIXES | _PATTERNS:
            path = _path(one)
            if path:
                yield Taken(one.line, path, one.name in _PATTERNS)
        elif _serves_location(one, around):
            *mark, path = around[0].arguments
            is_pattern = mark == ["~"] or around[0].name == "<locationmatch"
            yield Taken(around[0].line, path, is_pattern)
        if one.name.startswith("<"):
            opened.append(one)


def _serves_location(one: Directive, around: list[Directive]) -> bool:
    """Return whether a directive serves the requests of the location that it is in."""
    is_in_one = [each.name for each in around] in (["<location"], ["<locationmatch"])
    return is_in_one and one.name in _IN_LOCATION and not one.says("none")


def _path(one: Directive) -> str:
    """Return the path, or the pattern, of a directive; empty if it takes none."""
    words = one.arguments
    if one.name.startswith("redirect") and words and _STATUS.fullmatch(words[0]):
        words = words[1:]
    return words[0] if words else ""


def before_proxy(lines: Sequence[str]) -> Iterator[str]:
    """Yield ``lines``, with an exclusion before each directive whose paths are not to be proxied.

    mod_proxy looks at a path before mod_alias and mod_wsgi do, in whatever order the lines are.
    """
    found: dict[int, list[Taken]] = {}
    for one in taken(lines):
        found.setdefault(one.line, []).append(one)
    proxied = {one.line for one in parse("\n".join(lines)) if one.name.startswith("proxypass")}
    for number, line in enumerate(lines, 1):
        for one in [] if number in proxied else found.get(number, []):
            name = "ProxyPassMatch" if one.is_pattern else "ProxyPass"
            yield f'{name} {apache(one.path)} "!"'
        yield line


def rest(lines: Sequence[str]) -> str:
    """Return a regular expression of the paths that ``lines`` do not take; group 1 is the path.

    It is empty if they take none.
    """
    patterns = [f"(?!{one.pattern})" for one in taken(lines)]
    return f"^(?=(.*)){''.join(patterns)}" if patterns else ""
