"""Check a virtual host by ``apache2 -t``, and for faults that this accepts.

``problems`` reads a text as Apache would, as far as a virtual host needs it:
sections, quotes, continued lines, ``Define``.  Nothing else is read or run.
"""

import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pylonyard.config.converters import without_controls
from pylonyard.system import accounts
from pylonyard.system.errors import CommandError, PylonyardError
from pylonyard.system.subprocesses import first_error, run

_WORD = re.compile(r"""(?:[\w-]+=)?(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|\S+""")
DEBIAN = {"APACHE_LOG_DIR": "/var/log/apache2"}
"""Variables of Debian's ``envvars`` that a virtual host may name."""

_VARIABLE = re.compile(r"\$\{([^}:]*)\}")


class ConfigError(PylonyardError, ValueError):
    """The sections of a configuration are not nested properly."""


@dataclass(frozen=True)
class Directive:
    """One directive; that of a section has a name such as ``<directory``."""

    line: int
    name: str
    arguments: tuple[str, ...]
    sections: tuple[tuple[str, str], ...]

    def says(self, *words: str) -> bool:
        return [a.lower() for a in self.arguments[: len(words)]] == list(words)

    def within(self, section: str) -> str | None:
        """Return the argument of the innermost ``section`` around, if there is one."""
        return next((value for name, value in reversed(self.sections) if name == section), None)

    def setting(self, name: str) -> str | None:
        """Return the value of an argument ``name=value``."""
        values = (a.partition("=")[2] for a in self.arguments if a.startswith(f"{name}="))
        return next(values, None)


def problems(
    text: str,
    *,
    exists: Callable[[str], bool] = os.path.exists,
    defined: Mapping[str, str] | None = None,
) -> list[str]:
    """Return the problems of a configuration that Apache would accept.

    :param exists: tells whether a file is, or will be, there
    :param defined: what files read before this one ``Define``
    """
    try:
        found = list(parse(text, defined))
    except ConfigError as error:
        return [str(error)]
    return [
        *_open_access(found),
        *_unknown_groups(found),
        *_duplicates(found),
        *_missing(found, exists),
        *_unreplaced(found),
    ]


def parse(text: str, defined: Mapping[str, str] | None = None) -> Iterator[Directive]:
    """Yield the directives of ``text``, with its own variables replaced.

    :raises ConfigError: if a section is not closed, or closed but not open; if there
        is a NUL
    """
    variables = dict(defined or {})
    sections: list[tuple[str, str]] = []
    for line, content in _logical_lines(text):
        name, arguments = _split(content, variables)
        if name.startswith("</"):
            if not sections or sections[-1][0] != name[2:]:
                raise ConfigError(f"line {line}: {content} closes what is not open")
            sections.pop()
            continue
        if name == "define":
            variables.setdefault(arguments[0], " ".join(arguments[1:]))
        yield Directive(line, name, arguments, tuple(sections))
        if name.startswith("<"):
            sections.append((name[1:], " ".join(arguments)))
    if sections:
        raise ConfigError(f"<{sections[-1][0]}> is not closed")


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    held, start = "", 1
    for number, line in enumerate(text.split("\n"), 1):
        if "\0" in line:
            raise ConfigError(f"line {number}: a NUL, which hides the rest from Apache")
        start = start if held else number
        if line.endswith("\\"):
            held += line[:-1] + " "
            continue
        content, held = (held + line).strip(), ""
        if content and not content.startswith("#"):
            yield start, content
    if held:
        raise ConfigError(f"line {start}: the last line ends with a backslash")


def _split(content: str, variables: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    if content.startswith("<") and content.endswith(">"):
        content = content[:-1]
    name, rest = [*re.split(r"\s+", content, maxsplit=1), ""][:2]
    filled = _VARIABLE.sub(lambda found: variables.get(found[1], found[0]), rest)
    return name.lower(), tuple(_unquoted(word) for word in _WORD.findall(filled))


def _unquoted(word: str) -> str:
    name, equals, value = re.fullmatch(r"(?s)(?:([\w-]+)(=)(?=[\"']))?(.*)", word).groups("")  # type: ignore[union-attr]
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    return f"{name}{equals}{value}"


def _open_access(found: Iterable[Directive]) -> Iterator[str]:
    for one in found:
        if one.name == "proxyrequests" and one.says("on"):
            yield f"line {one.line}: ProxyRequests On makes an open proxy"
        if one.name == "alias" and one.says("/"):
            yield f"line {one.line}: Alias / serves all of {' '.join(one.arguments[1:])}"
        if (
            one.name == "require"
            and one.says("all", "granted")
            and one.within("directory") in ("/", "~ /", "/*")
        ):
            yield f"line {one.line}: Require all granted opens every file of the machine"


def _unknown_groups(found: list[Directive]) -> Iterator[str]:
    groups = {one.arguments[0] for one in found if one.name == "wsgidaemonprocess"}
    for one in found:
        if one.name == "wsgiprocessgroup":
            name: str | None = one.arguments[0]
        else:
            name = one.setting("process-group") if one.name.startswith("wsgi") else None
        if name and not name.startswith("%{") and name not in groups:
            yield f"line {one.line}: process group {name} has no WSGIDaemonProcess"


def _duplicates(found: Iterable[Directive]) -> Iterator[str]:
    known: dict[tuple[str, str], int] = {}
    for one in found:
        address = one.within("virtualhost")
        if address is None or one.name not in ("servername", "serveralias"):
            continue
        for name in one.arguments:
            first = known.setdefault((name.lower(), address), one.line)
            if first != one.line:
                yield f"line {one.line}: {name} on {address} is served by line {first} already"


def _missing(found: Iterable[Directive], exists: Callable[[str], bool]) -> Iterator[str]:
    for one in found:
        if one.name in ("wsgiscriptalias", "wsgiimportscript"):
            script = one.arguments[1 if one.name == "wsgiscriptalias" else 0]
            if not exists(script):
                yield f"line {one.line}: the WSGI script {script} is missing"
        home = one.setting("python-home")
        if home and not exists(home):
            yield f"line {one.line}: the python-home {home} is missing"


def _unreplaced(found: Iterable[Directive]) -> Iterator[str]:
    for one in found:
        for variable in _VARIABLE.findall(" ".join(one.arguments)):
            yield f"line {one.line}: ${{{variable}}} is not defined"


def apache(value: Any) -> str:
    """Quote for an argument of an Apache directive.

    ``${NAME}`` is expanded even inside quotes and has no escape, so it is
    refused; so is a trailing backslash's line continuation (by the quotes).
    """
    text = without_controls(value, "Apache's configuration")
    if re.search(r"\$\{", text):
        raise ValueError(f"{text!r} has ${{, which Apache would expand")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


# A virtual host of a draft, by the real program.


def check(path: str, draft: Path, live: Path) -> None:
    """Have Apache check a virtual host, included by the private ``httpd.conf``.

    Both name live paths, which are those of the release before; so copies are
    read in which they name the draft.

    :raises CommandError: if Apache refuses it, or has to be kept from it
    """
    config = f"{Path(path).stem}/httpd.conf"
    with tempfile.TemporaryDirectory() as folder:
        for source in (config, path):
            text = (draft / source).read_text(encoding="utf-8")
            text = text.replace(f"{live}/{path}", f"{folder}/{Path(path).name}")
            text = with_accounts(text.replace(f"{live}/", f"{draft}/"))
            text = with_folders(text, folder)
            Path(folder, Path(source).name).write_text(text, encoding="utf-8")
        run(
            ["apache2", "-t", "-f", Path(folder, "httpd.conf")],
            path,
            reason=first_error,
            doing=f"Checking {path}",
        )
        # What it lets pass, a missing script among it.
        text = Path(folder, Path(path).name).read_text(encoding="utf-8")
        if found := problems(text, defined=DEBIAN):
            raise CommandError(path, found[0])


def with_accounts(text: str) -> str:
    """Return an Apache configuration with accounts that exist.

    It refuses others, and what an activation is to make is not there yet.
    """
    other = next(filter(accounts.entry, ("www-data", "nobody")), "root")

    def known(match: re.Match[str]) -> str:
        before, user, between, _ = match.groups()
        is_there = accounts.entry(user)
        return match[0] if is_there else f"{before}{other}{between}{accounts.group(other)}"

    text = re.sub(r"(\buser=)(\S+)( group=)(\S+)", known, text)
    return re.sub(r"(?m)^(User )(\S+)(\nGroup )(\S+)$", known, text)


def with_folders(text: str, other: str) -> str:
    """Return an Apache configuration whose folders exist.

    What an account is to own, and an activation makes with it, is not there yet.
    """
    named = re.findall(r'(?m)^(?:ServerRoot|ErrorLog) "?(/[^"\n]+?)"?$', text)
    for path in named:
        folder = path if not path.endswith(".log") else os.path.dirname(path)
        if not os.path.isdir(folder):
            text = text.replace(f"{folder}/", f"{other}/").replace(folder, other)
    return text
