"""Change and check ini files as PasteDeploy reads them; keep their comments and order."""

import ast
import configparser
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from configupdater import ConfigUpdater

from pylonyard.config.converters import ini
from pylonyard.system.errors import PylonyardError

Sections = Mapping[str, Mapping[str, str]]
TRUE_WORDS = frozenset({"true", "yes", "on", "y", "t", "1"})


class IniError(PylonyardError, ValueError):
    """A text is not an ini file."""


@dataclass(frozen=True)
class Setting:
    """One ``key = value`` of a section, with the value as written in the file."""

    section: str
    key: str
    value: str


class Ini:
    """An ini file, to be read and changed."""

    def __init__(self, text: str, spell: Callable[..., str] = ini) -> None:
        """Read ``text``; ``spell`` is the quoting function for the Python that will read it."""
        self.spell = spell
        # Strict: of a key that comes twice, only one would be seen and changed.
        self._file = ConfigUpdater(strict=True, allow_no_value=False)
        self._file.optionxform = str  # type: ignore[assignment,method-assign]
        try:
            self._file.read_string(text)
        except configparser.Error as error:
            raise IniError(_reason(error)) from error

    def __str__(self) -> str:
        return str(self._file)

    def sections(self) -> list[str]:
        return self._file.sections()

    def get(self, section: str, key: str) -> str | None:
        if not self._file.has_option(section, key):
            return None
        return self._file.get(section, key).value or ""

    def settings(self) -> Iterator[Setting]:
        for section in self.sections():
            for key, option in self._file[section].items():
                yield Setting(section, key, option.value or "")

    def set(self, section: str, key: str, value: str) -> None:
        """Set a key to a value, written to the file unchanged; a new key comes last."""
        if not self._file.has_section(section):
            self._add_section(section)
        options = list(self._file[section].items())
        if key not in self._file[section] and options:
            options[-1][1].add_after.option(key, "")
        else:
            self._file.set(section, key, "")
        first, *more = value.split("\n")
        if more:
            lines = [first, *more] if first else more
            self._file[section][key].set_values(lines, prepend_newline=not first)
        else:
            self._file[section][key].value = value

    def set_text(self, section: str, key: str, value: object) -> None:
        """Set a key so that PasteDeploy reads ``value``."""
        self.set(section, key, self.spell(value))

    def remove(self, section: str, key: str) -> None:
        if self._file.has_option(section, key):
            self._file.remove_option(section, key)

    def _add_section(self, section: str) -> None:
        if sections := self.sections():
            self._file[sections[-1]].add_after.space(1).section(section)
        else:
            self._file.add_section(section)


def _reason(error: configparser.Error) -> str:
    """Return the message without the placeholder for a file's name."""
    text = re.sub(r"(While reading from |file: )?'<(string|\?+)>',?", "", str(error))
    text = re.sub(r"(?m)(?<=\]: )(['\"]).*\1$", _quoted_once, text)
    return " ".join(text.split()).replace("\\n'", "'")


def _quoted_once(found: re.Match[str]) -> str:
    """Return the line that ConfigUpdater quotes in its message; Python 3.13 quotes it twice."""
    held = str(ast.literal_eval(found[0]))
    return held if held[:1] in {"'", '"'} and held[:1] == held[-1:] else found[0]


def fragment(text: str) -> list[Setting]:
    """Return the settings of an ini fragment, in order.

    A section may begin several times, as where ``+=`` appends one fragment to another.

    :raises IniError: if it is not one, or a setting has no section
    """
    found: list[Setting] = []
    lines = 0
    for piece in re.split(r"(?m)^(?=\[)", text):
        # Blank lines before it keep the numbers of lines in messages right.
        found += Ini("\n" * lines + piece).settings() if piece.strip() else []
        lines += piece.count("\n")
    return found


def overlay(base: Ini, settings: Iterable[Setting]) -> None:
    for setting in settings:
        base.set(setting.section, setting.key, setting.value)


def encode(config: Ini, option: str, value: object, around: str = "") -> str:
    """Return ``value`` quoted for an ini file, where it may be a part of ``around``.

    :raises ValueError: naming the option that it comes from
    """
    try:
        return config.spell(value, around)
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None


def is_true(value: str) -> bool:
    """Return whether PasteDeploy's ``asbool`` takes ``value`` for true."""
    return value.strip().lower() in TRUE_WORDS


# The sections that configure the applications, found as PasteDeploy finds them.


Application = tuple[str, ...]
"""The sections of one application; the settings of an earlier one override those of a later."""

_PLAIN = ("app", "application")
_COMPOSITE = ("composite", "composit")
_KINDS = (*_PLAIN, *_COMPOSITE, "pipeline", "filter-app")


def main_section(config: Ini, wanted: str | None) -> str:
    """Return the section that is served: what PasteDeploy calls ``main``, of any kind.

    A file whose only application has another name is taken to mean that.

    :param wanted: the section that the user named, if any
    :raises ValueError: if there is none
    """
    if wanted:
        if wanted not in config.sections():
            raise ValueError(f"section: expected a section of the ini, got {wanted!r}")
        return wanted
    if found := find(config, "main"):
        return found
    named = [s for s in config.sections() if s.startswith("app:")]
    if len(named) == 1:
        return named[0]
    had = ", ".join(named) or "none"
    raise ValueError(f"section: expected the application's section, as the ini has {had}")


def find(config: Ini, name: str) -> str | None:
    """Return the section of the application ``name``; None if it has none in this file."""
    for section in config.sections():
        kind, colon, own = section.partition(":")
        if kind in _KINDS and (own.strip() == name if colon else name == "main"):
            return section
    return None


def new_applications(config: Ini, settings: Iterable[Setting]) -> list[Setting]:
    """Return the settings of applications that the file does not have yet, such as its main one."""
    known = config.sections()
    return [s for s in settings if s.section.partition(":")[0] in _KINDS and s.section not in known]


def applications(config: Ini, section: str) -> list[Application]:
    """Return the applications that a section leads to, each once, in the order of the file."""
    found: dict[Application, None] = {}
    for one in _led_to(config, section, frozenset()):
        found.setdefault(one)
    return list(found)


def _led_to(config: Ini, section: str, before: frozenset[str]) -> Iterator[Application]:
    if section in before:  # PasteDeploy refuses such a circle
        return
    kind = section.partition(":")[0]
    next_ones = [
        one for name in _names(config, section, kind) if (one := find(config, name)) is not None
    ]
    if kind not in _PLAIN:
        for one in next_ones:
            yield from _led_to(config, one, before | {section})
        return
    # [app:main] use = other: the settings of both are one application's.
    used = [each for one in next_ones for each in _led_to(config, one, before | {section})]
    if not used:
        yield (section,)
    for each in used:
        yield (section, *each)


def _names(config: Ini, section: str, kind: str) -> list[str]:
    """Return what may be names of applications in a section."""
    if kind == "pipeline":
        return (config.get(section, "pipeline") or "").split()[-1:]
    if kind == "filter-app":
        return [(config.get(section, "next") or "").strip()]
    if kind in _PLAIN:
        return [(config.get(section, "use") or "").strip()]
    return [
        word
        for setting in config.settings()
        if setting.section == section
        for word in setting.value.split()
    ]


# What must not be served to strangers: debuggers that run code or show secrets.


_DEBUG_KEYS = re.compile(r"(set )?(debug|pyramid\.debug_all|trace_errors\.enable)")
# Paste#evalerror runs code from a POST even where debug is false.
_DEBUGGERS = re.compile(
    r"(egg:)?(Paste#evalerror|Paste#printdebug|Paste#debug\S*|WebError#evalerror"
    r"|(call:)?(paste|weberror)\.evalexception\S*"
    r"|pyramid_debugtoolbar\S*|tgext\.debugbar\S*)",
    re.IGNORECASE,
)


def debug_problems(config: Ini) -> list[str]:
    """Return a message for each setting that starts a debugger."""
    return [
        problem
        for setting in config.settings()
        if (problem := _problem(setting, _interpolated(config, setting)))
    ]


def _interpolated(config: Ini, setting: Setting) -> str:
    """Return the value with ``%(name)s`` of its section, or of [DEFAULT], filled in."""

    def value(match: re.Match[str]) -> str:
        found = config.get(setting.section, match.group(1))
        return (config.get("DEFAULT", match.group(1)) if found is None else found) or ""

    return re.sub(r"%\((.+?)\)s", value, setting.value)


def _problem(setting: Setting, read: str) -> str:
    where = f"[{setting.section}] {setting.key}"
    # To Python 2 a comment ends the value.
    value = re.split(r"\s;", read)[0]
    if _DEBUG_KEYS.fullmatch(setting.key) and is_true(value):
        return f"{where}: expected false outside development, got {setting.value!r}"
    for word in re.split(r"[\s,]+", read):
        if _DEBUGGERS.fullmatch(word):
            return f"{where}: expected no debugger outside development, got {word!r}"
    return ""
