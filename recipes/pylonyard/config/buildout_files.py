"""Read the configuration files of a run: find the place of an option, and typing errors.

zc.buildout accepts unknown names, so a section with a typing error in its name is ignored
without a message. If an option is written twice, the last one wins, also without a message.
"""

import bisect
import logging
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from zc.buildout import buildout

from pylonyard.config.layout import OUR_EXTENSION
from pylonyard.system.errors import UserError
from pylonyard.system.options import near

log = logging.getLogger("pylonyard")

HEADER = re.compile(r"\[\s*([^\s\[\]:{}]+)\s*(:[^\]]*)?\]")
OPTION = re.compile(r"([^\s{}\[\]=:#;][^{}\[\]=:]*?)\s*=(?!>)")


def no_such(path: Path) -> str:
    """Return the message for a missing configuration file."""
    return f"there is no configuration {path}{near(path.name, _beside(path.parent))}"


def _beside(base: Path) -> Iterator[str]:
    for pattern in ("*.cfg", "*/*.cfg"):
        yield from (str(path.relative_to(base)) for path in base.glob(pattern))


def shown(path: Path, line: int = 0) -> str:
    """Return the path of a file relative to the current folder, with a line number if known."""
    name = os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
    return f"{name}, line {line}" if line else name


def options(lines: Iterable[str]) -> Iterator[tuple[str, str, int, str]]:
    """Yield section (with its condition, if any), name, line number and text of each option."""
    header, found = "", None
    for number, line in enumerate(lines, 1):
        if line[:1] in ("#", ";"):
            continue
        if found and (line[:1].isspace() or not line):
            found = (*found[:3], f"{found[3]}\n{line.strip()}".strip())
            continue
        if found:
            yield found
            found = None
        if section := HEADER.match(line):
            header = section[1] + (section[2] or "")
        elif option := OPTION.match(line):
            found = (header, option[1].rstrip(), number, line[option.end() :].strip())
    if found:
        yield found


def replayed(section: str, key: str, below: Mapping[str, str], value: str, written: Any) -> str:
    """Return an option of a section that extends another one, after ``+=`` and ``-=``.

    zc.buildout knows nothing of what is below, and takes a first ``+=`` for an assignment.

    :param key: the option's name; zc.buildout leaves the sign in it where a section has ``<=``
    :param below: the options of the section below
    :param value: what zc.buildout made of it
    :param written: its ``SectionKey``, which tells where each change was made; None if none was
    """
    name = key.rstrip(" +-")
    lines = below.get(name, "").split("\n") if below.get(name) else []
    if key[-1] in "+-":
        return "\n".join(_changed(lines, key[-1], value))
    for change in written.history if written else ():
        match change.operation:
            case "ADD":
                lines = _changed(lines, "+", change.value)
            case "REMOVE" if change.source != "IMPLICIT_VALUE":
                lines = _changed(lines, "-", change.value)
            case "SET":
                lines = _changed(lines, written_sign(section, name, change.source), change.value)
            case "OVERRIDE":
                lines = change.value.split("\n")
    return "\n".join(lines) if written else value


def _changed(lines: list[str], sign: str, value: str) -> list[str]:
    changed = value.split("\n")
    if sign == "+":
        return lines + changed
    return [line for line in lines if line not in changed] if sign == "-" else changed


def written_sign(section: str, option: str, source: str) -> str:
    """Return the sign, ``+``, ``-`` or none, with which a file first writes an option."""
    try:
        lines = Path(source).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return ""  # of the command line, or of an address
    for header, name, _, _ in options(lines):
        if header.partition(":")[0] == section and name.rstrip("+- ") == option:
            return name[-1] if name[-1] in "+-" else ""
    return ""


KNOWN: Set[str] = {
    *buildout._buildout_default_options,
    *("develop", "directory", "extends", "extends-cache", "extensions", "find-links", "index"),
    *("optional-extends", "parts", "versions", "download-cache"),
}
"""The options of ``[buildout]``."""


def _is_written(key: Any) -> bool:
    return key.source not in ("COMMAND_LINE_VALUE", "DEFAULT_VALUE", "COMPUTED_VALUE")


def _sections(raw: Mapping[str, Mapping[str, str]], written: Collection[str]) -> set[str]:
    """Return the sections that a run certainly uses."""
    used = {name for name in raw if "recipe" in raw[name] or "<" in raw[name]}
    return used | {"buildout", raw["buildout"].get("versions", "versions")}


def _is_mentioned(name: str, raw: Mapping[str, Mapping[str, str]]) -> bool:
    word = re.compile(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])")
    return any(word.search(text) for section in raw.values() for text in section.values())


class Files:
    """The configuration files of one run, as far as they have been read."""

    def __init__(self, profile: Path | None = None) -> None:
        """Read files.

        :param profile: a profile below them, as if the lowest one extended it
        """
        self.original: Callable[..., Any] = buildout._open
        """The function of zc.buildout that reads a file; ``opened`` may stand in its place."""
        self._profile = profile
        self._lines: dict[Path, list[str]] = {}
        """The lines of each file; files that overrule others come last."""
        self._overruled: list[str] = []
        """Warnings to give when line numbers are known."""

    def opened(self, base: str, name: str, seen: list[str], *words: Any) -> Any:
        """Read a configuration file, and the files that it extends, as zc.buildout does.

        Its last argument is what is beneath the file: the user's defaults.

        :raises UserError: in one line, if it cannot be read
        """
        if self._profile:
            profile, self._profile = self._profile, None
            *rest, _ = words
            beneath, _ = self.opened(str(profile.parent), profile.name, [], *words)
            return self.opened(base, name, seen, *rest, beneath)
        if buildout._isurl(name) or buildout._isurl(base):
            return self.original(base, name, seen, *words)
        path = Path(base, name)
        if os.path.realpath(path) in map(os.path.realpath, seen):
            raise UserError(f"{self._extends(seen, name)}: it extends that file in turn")
        try:
            text = path.read_bytes().decode("utf-8")
        except UnicodeDecodeError as error:
            line = error.object[: error.start].count(b"\n") + 1
            byte = error.object[error.start]
            problem = f"expected UTF-8, got the byte 0x{byte:02x}; save the file as UTF-8"
            raise UserError(f"{shown(path)}, line {line}: {problem}") from error
        except OSError as error:
            if not seen:
                what = f"cannot read the configuration {path}: {error.strerror}"
                raise UserError(what) from error
            others = near(name, _beside(Path(base))) if isinstance(error, FileNotFoundError) else ""
            raise UserError(f"{self._extends(seen, name)}: {error.strerror}{others}") from error
        self._lines[path] = text.splitlines()
        self._check_lines(path, self._lines[path])
        opened = self.original(base, name, seen, *words)
        # By now the files that it extends have been read.
        self._lines[path] = self._lines.pop(path)
        return opened

    def _extends(self, seen: Sequence[str], name: str) -> str:
        """Return the message that a file cannot extend ``name``, with its line."""
        path = Path(seen[-1])
        lines = enumerate(self._lines.get(path, ()), 1)
        number = next((n for n, line in lines if name in re.split(r"[\s=]+", line)), 0)
        return f"{shown(path, number)}: extends: cannot extend {name}"

    def _check_lines(self, path: Path, lines: Sequence[str]) -> None:
        """Refuse a section without its bracket, or an option that is set twice in a section.

        :raises UserError: naming the line
        """
        for number, line in enumerate(lines, 1):
            if line.startswith("[") and not HEADER.match(line) and "]" not in line:
                problem = f"expected [section], got {line.strip()!r}, which has no closing bracket"
                raise UserError(f"{shown(path, number)}: {problem}")
        begun = [number for number, line in enumerate(lines, 1) if HEADER.match(line)]
        first: dict[tuple[str, str], tuple[int, str]] = {}
        for header, name, number, value in options(lines):
            if name.endswith(("+", "-")):
                continue
            before, other = first.setdefault((header, name), (number, value))
            if other == value:
                continue
            twice = f"{shown(path, number)}: [{header}] {name}: set in line {before} already"
            if bisect.bisect(begun, number) == bisect.bisect(begun, before):
                raise UserError(f"{twice}; keep one of them")
            # A repeated section may overrule options on purpose.
            self._overruled.append(f"{twice}, and the last one counts; better keep one of them")

    def place(self, section: str, option: str = "") -> str:
        """Return the place of an option or section: file, line, section and option."""
        named = f"[{section}] {option}".rstrip()
        for path, lines in reversed(self._lines.items()):
            for header, name, number, _ in options(lines):
                if header.partition(":")[0] == section and name.rstrip("+- ") == option:
                    return f"{shown(path, number)}: {named}"
            for number, line in enumerate(lines, 1):
                header_line = HEADER.match(line)
                if header_line and header_line[1] == section and not option:
                    return f"{shown(path, number)}: {named}"
        return named

    def line(
        self, source: str, sections: Sequence[str], option: str, sign: str, value: str
    ) -> tuple[str, int]:
        """Return the section and the line number with which a file sets an option.

        :param source: the file, as zc.buildout names it
        :param sections: those that may have set it, the section itself first
        :param sign: ``=``, ``+=`` or ``-=``
        :param value: what was set; a file may set it more than once, under conditions
        """
        found = [(sections[0], 0)]
        ranks = [(False, False, -len(sections))]
        for header, name, number, text in options(self._lines.get(Path(source), ())):
            section = header.partition(":")[0]
            if section in sections and name.rstrip("+- ") == option:
                found.append((section, number))
                own_sign = f"{name[-1]}=" if name.endswith(("+", "-")) else "="
                is_same = text.split() == value.split()
                ranks.append((is_same, own_sign == sign, -sections.index(section)))
        best = max(ranks)
        return found[len(ranks) - 1 - ranks[::-1].index(best)]

    def check(self, run: Any, given: Iterable[tuple[str, str, str]]) -> None:
        """Refuse sections and options of ``[buildout]`` that look like typing errors.

        :param given: section, option and value of each of the command line's
        :raises UserError: naming the place, and the likely name
        """
        for line in self._overruled:
            log.warning("%s.", line)
        raw: Mapping[str, Mapping[str, str]] = run._raw
        written = {s for s in raw if any(_is_written(k) for k in run._annotated[s].values())}
        extended = bool({*raw["buildout"].get("extensions", "").split()} - {OUR_EXTENSION})
        for section, option, value in given:
            if section not in written and section not in ("buildout", "versions") and not extended:
                other = near(section, _sections(raw, written)).replace("?", f":{option}?")
                raise UserError(
                    f"{section}:{option}={value}: there is no section [{section}]{other}"
                )
        for section in sorted(written - _sections(raw, written)):
            other = near(section, _sections(raw, written))
            if other and not _is_mentioned(section, raw):
                raise UserError(f"{self.place(section)}: unknown{other}")
        for option in sorted(set(raw["buildout"]) - KNOWN):
            other = near(option, KNOWN, 0.85)
            if other and not _is_mentioned(f"buildout:{option}", raw):
                raise UserError(f"{self.place('buildout', option)}: unknown{other}")
