"""Run ``bin/pylonyard config``: show the merged configuration, and where each value comes from.

zc.buildout reads and merges the files as in a run, and is stopped before it makes folders or
loads recipes.  Its own ``annotate`` and ``query`` know no extensions and no line numbers.
"""

import contextlib
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pylonyard.buildout import patches

# isort: split
# patches.py is the first to import zc.buildout.
from zc.buildout import UserError as BuildoutError
from zc.buildout import buildout

from pylonyard.buildout import complaints
from pylonyard.commands.releases import Mask
from pylonyard.config import buildout_files, configuration, run_state
from pylonyard.config.buildout_files import Files, shown
from pylonyard.config.layout import DEFAULTS, OUR_EXTENSION, profile
from pylonyard.packages import downloads
from pylonyard.packages.lock.fit import RECIPES
from pylonyard.system.errors import PylonyardError, UserError
from pylonyard.system.options import near

FORMAT = 1
"""The version of the JSON object."""

SIGNS = {"ADD": "+=", "REMOVE": "-="}
"""The operations of zc.buildout that change the value beneath."""

NO_FILES = {
    "DEFAULT_VALUE": "default",
    "COMPUTED_VALUE": "computed",
    "COMMAND_LINE_VALUE": "command line",
}
"""The sources of zc.buildout that are no files."""

Print = Callable[[str], object]


class _StopReading(PylonyardError):
    """Raised when everything is read and merged."""


class ConfigReader(patches.Buildout):
    """A zc.buildout that reads and merges the configuration, and does nothing else."""

    def __init__(self, file: str, given: Sequence[tuple[str, str, str]], below: Path | None):
        self.profile = below
        self.files = Files(below)
        patches.read_through(self.files)
        try:
            # The output of zc.buildout is no part of the answer.
            with contextlib.redirect_stdout(sys.stderr), contextlib.suppress(_StopReading):
                super().__init__(file, given)
        except Exception as error:
            line = complaints.explain(error, self)
            if line is None:
                raise
            raise UserError(Mask(frozenset()).addresses(line)) from error

    def __getitem__(self, section: str) -> Any:
        """Stop: zc.buildout gets its first section when all is merged."""
        raise _StopReading


def read(file: str, given: Sequence[tuple[str, str, str]] = ()) -> ConfigReader:
    """Return the configuration, with our profile beneath if it names our extension.

    :param given: section, option and value of each assignment of a command line
    :raises UserError: if it cannot be read
    """
    downloads.install()
    patches.apply(DEFAULTS)
    found = ConfigReader(file, given, None)
    if OUR_EXTENSION in found._raw["buildout"].get("extensions", "").split():
        found = ConfigReader(file, given, profile())
    return found


@dataclass(frozen=True)
class Origin:
    """Where a value is written, or one of its changes."""

    sign: str
    """``=``, ``+=`` or ``-=``."""
    kind: str
    """``file``, ``profile``, ``default``, ``computed`` or ``command line``."""
    file: str = ""
    line: int = 0
    """The line in the file; 0 if it is not known."""
    section: str = ""
    """The section in the file, if that has another name."""

    def __str__(self) -> str:
        name = Path(self.file)
        place = {
            "file": self.file if "://" in self.file else shown(name, self.line),
            "profile": f"profile {name.name}, line {self.line}",
        }.get(self.kind, self.kind)
        sign = f"{self.sign} " if self.sign != "=" else ""
        return f"{sign}{place}{f' [{self.section}]' if self.section else ''}"

    def as_object(self) -> dict[str, Any]:
        return {
            "operation": self.sign,
            "kind": self.kind,
            "file": self.file or None,
            "line": self.line or None,
            "section": self.section or None,
        }


@dataclass(frozen=True)
class Value:
    """The value of an option, with where it and its changes are written."""

    text: str
    origins: tuple[Origin, ...]

    @property
    def origin(self) -> str:
        return "; ".join(map(str, self.origins))

    def as_object(self) -> dict[str, Any]:
        return {"value": self.text, "origins": [each.as_object() for each in self.origins]}


class Merged:
    """The sections of a configuration, merged; passwords in addresses are masked."""

    def __init__(self, run: ConfigReader) -> None:
        self._run = run
        self._mask = Mask(frozenset())

    @cached_property
    def names(self) -> Sequence[str]:
        return [*self._run._annotated, *self._copies()]

    def section(self, name: str) -> dict[str, Value]:
        """Return the options of a section.

        :raises UserError: if there is no such section, or one that it extends
        """
        if found := run_state.site_and_role(self._run, name):
            return self._copy(name, *found)
        if name not in self._run._annotated:
            raise UserError(f"there is no section [{name}]{near(name, self.names)}")
        keys, sections = self._extended(name, ()), list(dict.fromkeys(self._below(name)))
        # What somebody wrote comes first.
        written = sorted(keys, key=lambda option: keys[option].source == "DEFAULT_VALUE")
        return {
            option: Value(
                self._mask.addresses(keys[option].value),
                tuple(self._origins(sections, option, keys[option])),
            )
            for option in written
        }

    def _copies(self) -> Iterator[str]:
        """Yield the sections that a run makes for further sites, where no file has them."""
        sites = [name for name in self._run._raw if self._is_further_site(name)]
        for site in sites:
            for role in run_state.roles(self._run, site):
                name = run_state.role_section(site, role)
                if role in self._run._raw and name not in self._run._raw:
                    yield name

    def _is_further_site(self, name: str) -> bool:
        if name in (run_state.FIRST_SITE, "buildout"):
            return False
        with contextlib.suppress(BuildoutError):  # reported where the section itself is shown
            return run_state.recipe_name(run_state.resolved(self._run, name)) == "site"
        return False

    def _copy(self, name: str, site: str, role: str) -> dict[str, Value]:
        """Return the options of a section that a run copies for a further site."""
        below, result = self.section(role), {}
        copy = run_state.copy_of(self._run, site, run_state.roles(self._run, site), role)
        for option, text in (
            self._run.Options(self._run, name, copy)._do_extend_raw(name, copy, []).items()
        ):
            origins = list(self._own(name, option))
            if option in below and not any(each.sign == "=" for each in origins):
                copied = [replace(o, section=o.section or role) for o in below[option].origins]
                origins = [*copied, *origins]
            result[option] = Value(self._mask.addresses(text), tuple(origins))
        return result

    def _own(self, name: str, option: str) -> Iterator[Origin]:
        """Yield where the section of a copy itself changes an option."""
        own = self._run._annotated.get(name, {})
        for spelled, key in own.items():
            if spelled.rstrip("+- ") != option:
                continue
            for origin in self._origins([name], spelled, key):
                sign = buildout_files.written_sign(name, option, origin.file)
                yield replace(origin, sign=f"{sign}=") if origin.sign == "=" else origin

    def value(self, section: str, option: str) -> Value:
        """Return the value of an option.

        :raises UserError: if it is set nowhere
        """
        options = self.section(section)
        if option in options:
            return options[option]
        missing = f"there is no option {option} in [{section}]{near(option, options)}"
        if "recipe" in options and not missing.endswith("?"):
            missing += ": it is set nowhere, so the default of the recipe holds"
        raise UserError(missing)

    def _extended(self, name: str, above: tuple[str, ...]) -> Mapping[str, Any]:
        """Return the keys of a section, after those of the sections that its ``<=`` names."""
        keys: Mapping[str, Any] = self._run._annotated[name]
        if name == "buildout" or "<" not in keys:
            return keys
        place = self._run.files.place(name, "<")
        if name in above:
            raise UserError(f"{place}: it extends itself, by {' <= '.join([*above, name])}")
        result: dict[str, Any] = {}
        for each in _lines(keys["<"].value):
            if each not in self.names:
                raise UserError(f"{place}: there is no section [{each}]{near(each, self.names)}")
            result.update(self._extended(each, (*above, name)))
        result = buildout._update_section(result, keys)
        del result["<"]
        return result

    def _below(self, name: str) -> Iterator[str]:
        """Yield a section, and all that it extends."""
        yield name
        keys = self._run._annotated[name]
        if name != "buildout" and "<" in keys:
            for each in reversed(_lines(keys["<"].value)):
                yield from self._below(each)

    def _origins(self, sections: Sequence[str], option: str, key: Any) -> Iterator[Origin]:
        changes = [item for item in key.history if item.source != "IMPLICIT_VALUE"]
        set_last = [n for n, item in enumerate(changes) if item.operation not in SIGNS]
        for item in changes[set_last[-1] if set_last else 0 :]:
            yield self._origin(sections, option.rstrip("+- "), item)

    def _origin(self, sections: Sequence[str], option: str, item: Any) -> Origin:
        sign = SIGNS.get(item.operation, "=")
        if item.source in NO_FILES:
            return Origin(sign, NO_FILES[item.source])
        section, line = self._run.files.line(item.source, sections, option, sign, item.value)
        below = self._run.profile
        of_profile = below and Path(item.source).is_relative_to(below.parent)
        return Origin(
            sign,
            "profile" if of_profile else "file",
            self._mask.addresses(item.source),
            line,
            section if section != sections[0] else "",
        )


def of_last_run(directory: Path) -> str:
    """Return the configuration that a sandbox remembers."""
    return configuration.named(configuration.completed((), directory)) or configuration.USUAL


_REFERENCE = re.compile(r"\$\{([^}:]*):([^}]*)\}")


class Sections:
    """The sections of a configuration, with the values that they refer to."""

    def __init__(self, merged: Merged) -> None:
        self._merged = merged

    @classmethod
    def of(cls, directory: Path) -> "Sections":
        """Return those of the configuration of a sandbox."""
        return cls(Merged(read(str(directory / of_last_run(directory)))))

    def applications(self) -> Iterator[str]:
        """Yield the sections that install an application."""
        for name in self._merged.names:
            if self.value(name, "recipe") in RECIPES:
                yield name

    def options(self, section: str) -> Mapping[str, str]:
        """Return the options of a section; none if there is no such section."""
        if section not in self._merged.names:
            return {}
        return {name: value.text for name, value in self._merged.section(section).items()}

    def value(self, section: str, option: str, above: tuple[str, ...] = ()) -> str:
        """Return a value; empty if it is set nowhere, or refers to itself."""
        text, place = self.options(section).get(option, ""), f"{section}:{option}"
        if place in above:
            return ""

        def referred(found: re.Match[str]) -> str:
            return self.value(found[1] or section, found[2], (*above, place))

        return _REFERENCE.sub(referred, text)

    def lines(self, section: str, option: str) -> list[str]:
        return [line.strip() for line in self.value(section, option).splitlines() if line.strip()]


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n") if line.strip()]


def command(
    directory: Path, words: Sequence[str], file: str | None, say: Print, *, as_json: bool = False
) -> None:
    """Show all sections, one, or the value of an option, whose origin goes to standard error.

    :param words: at most one section or ``SECTION:OPTION``, and assignments, as in a command line
    :param file: the configuration; None for the one of a plain ``bin/buildout``
    :raises UserError: if it cannot be read, or has no such section or option
    """
    given = [_assignment(word) for word in words if "=" in word]
    section, _, option = next((word for word in words if "=" not in word), "").partition(":")
    file = file or configuration.named(configuration.completed((), directory))
    merged = Merged(read(file or configuration.USUAL, given))
    names = [section] if section else merged.names
    if option:
        value = merged.value(section, option)
        shown_sections = {section: {option: value}}
    else:
        shown_sections = {name: merged.section(name) for name in names}
    if as_json:
        say(json.dumps(_as_object(shown_sections), indent=1))
    elif option:
        say(value.text)
        print(f"# {value.origin}", file=sys.stderr)
    else:
        say("\n".join(_listed(shown_sections)))


def _assignment(word: str) -> tuple[str, str, str]:
    name, _, value = word.partition("=")
    section, _, option = name.rpartition(":")
    return section or "buildout", option.strip(), value.strip()


def _as_object(sections: Mapping[str, Mapping[str, Value]]) -> dict[str, Any]:
    return {
        "version": FORMAT,
        "sections": {
            name: {option: value.as_object() for option, value in options.items()}
            for name, options in sections.items()
        },
    }


def _listed(sections: Mapping[str, Mapping[str, Value]]) -> Iterator[str]:
    """Yield the lines of a configuration file, with each origin in a comment above."""
    for number, (name, options) in enumerate(sections.items()):
        yield from [""] * bool(number)
        yield f"[{name}]"
        for option, value in options.items():
            lines = value.text.split("\n")
            # zc.buildout drops empty lines of a value that begins beside its option.
            first, more = (lines[0], []) if len(lines) == 1 else ("", lines)
            yield f"# {value.origin}"
            yield f"{option} = {first}".rstrip()
            yield from (f"    {line}".rstrip() for line in more)
