"""Turn errors of zc.buildout and the recipes into one line with the place."""

import re
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from zc.buildout import UserError as BuildoutError
from zc.buildout import buildout, configparser
from zc.buildout.easy_install import MissingDistribution, pkg_resources

from pylonyard.config import buildout_files
from pylonyard.config.buildout_files import Files
from pylonyard.packages import missing
from pylonyard.packages.index import Places
from pylonyard.system import atomic
from pylonyard.system.errors import PylonyardError
from pylonyard.system.options import near


def explain(error: Exception, run: Any) -> str | None:
    """Return the line for an error that a user can correct; None if it is a bug.

    :param run: zc.buildout, as far as it has come
    """
    files = getattr(run, "files", None) or Files()
    if isinstance(error, buildout.MissingOption | buildout.MissingSection):
        return _missing(error, getattr(run, "_raw", {}), files)
    if isinstance(error, configparser.ParsingError):
        return _parsing(error)
    if isinstance(error, MissingDistribution):
        return _located(error, files, missing.not_found_message(error, run, Places.of(run)))
    if isinstance(error, PylonyardError | BuildoutError):
        text = " ".join(str(error).split())
        return _of_option(text, files) or _of_file(text) or _located(error, files, text)
    if isinstance(error, pkg_resources.UnknownExtra | pkg_resources.VersionConflict):
        return _located(error, files, " ".join(str(error).split()))
    if isinstance(error, OSError) and error.errno in atomic.UNWRITABLE:
        return None  # reported as it is
    return _of_code(error, files)


def _missing(error: Exception, raw: Mapping[str, Mapping[str, str]], files: Files) -> str:
    """Return the line for a missing section or option."""
    where = _getting(error)
    if isinstance(error, buildout.MissingSection):
        section = str(error.args[0])
        problem = f"there is no section [{section}]{near(section, raw)}"
        return f"{files.place(*(where or ('buildout', 'parts')))}: {problem}"
    if len(error.args) == 3:
        section, option = map(str, error.args[1:])
        problem = f"there is no option {option} in [{section}]{near(option, raw.get(section, {}))}"
        return f"{files.place(*where) if where else ''}: {problem}".removeprefix(": ")
    section, _, option = str(error.args[0]).rpartition(" ")[2].partition(":")
    other = near(option, raw.get(section, {}))
    return f"{files.place(section)}: {option}: required, but missing{other}"


def _parsing(error: Any) -> str:
    line = error.lineno if hasattr(error, "lineno") else error.errors[0][0]
    text = error.line if hasattr(error, "line") else error.errors[0][1]
    got = re.sub(r"\\n(['\"])$", r"\1", text if text[:1] in "'\"" else repr(text))
    file = Path(error.filename)
    return f"{buildout_files.shown(file, line)}: expected [section] or option = value, got {got}"


def _located(error: Exception, files: Files, text: str) -> str:
    """Return a message with its place, unless it names one itself."""
    where = _getting(error)
    if not where or text.startswith("[") or f"[{where[0]}]" in text or ", line " in text:
        return text
    return f"{files.place(*where)}: {text}"


_VALUES = (
    (re.compile(r"Invalid value for '(.+)' option: '(.*)'"), "true or false"),
    (re.compile(r"Invalid (verbosity) (.*)"), "a number"),
    (re.compile(r"Invalid logging (level) (.*)"), "DEBUG, INFO, WARNING, ERROR or CRITICAL"),
)


def _of_option(text: str, files: Files) -> str:
    """Return the line for a value of ``[buildout]`` of the wrong type, with its place."""
    for complaint, expected in _VALUES:
        if found := complaint.fullmatch(text):
            name = found[1].replace("level", "log-level") if found[1] == "level" else found[1]
            return f"{files.place('buildout', name)}: expected {expected}, got {found[2]!r}"
    return ""


def _of_file(text: str) -> str:
    """Return the line for a missing configuration file."""
    found = re.fullmatch("Couldn't open (.+)", text)
    return buildout_files.no_such(Path(found[1])) if found else ""


def _of_code(error: Exception, files: Files) -> str | None:
    """Return the line for a wrong expression or condition in a configuration; else None."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    by_name = {frame.f_code.co_name: frame.f_locals for frame in frames}
    if "parse" in by_name and by_name["parse"].get("expression"):
        parsed = by_name["parse"]
        where = buildout_files.shown(Path(parsed["fpname"]), parsed["lineno"])
        condition = f"[{parsed['sectname']}:{parsed['expression']}]"
        return f"{where}: {condition}: expected a condition, got {type(error).__name__}: {error}"
    if isinstance(error, KeyError) and frames[-1].f_code.co_name == "__init__":
        section = frames[-1].f_locals.get("versions_section_name")
        if section and error.args == (section,):
            sections = frames[-1].f_locals["data"]
            problem = f"there is no section [{section}]{near(section, sections)}"
            return f"{files.place('buildout', 'versions')}: {problem}"
    if isinstance(error, ImportError | AttributeError) and "_install_and_load" in by_name:
        part = _getting(error)
        return f"{files.place(part[0], 'recipe')}: cannot load it: {error}" if part else None
    return None


def _getting(error: Exception) -> tuple[str, str] | None:
    """Return the section and option that zc.buildout was reading, the innermost."""
    found = None
    for said in _doing(error):
        if said[0] == "Getting option %s:%s.":
            found = (said[1], said[2])
        elif said[0] == "Initializing section %s.":
            found = (said[1], "")
    return found


def _doing(error: Exception) -> Iterator[tuple[str, ...]]:
    for frame, _ in traceback.walk_tb(error.__traceback__):
        said = frame.f_locals.get("__doing__")
        if isinstance(said, tuple):
            yield said
