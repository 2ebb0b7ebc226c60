"""The files that an ini file names: those beside it are released with it, all are judged."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote

from pylonyard.config.converters import ini_python2
from pylonyard.config.ini import Ini, IniError, Setting, debug_problems, encode, overlay

# "%%" before it is a percent sign, except in Python 2.
_HERE = r"(?<!%)((?:%%)*)%\(here\)s"
_HERE_PYTHON2 = r"()%\(here\)s"

_CONFIG = re.compile(r"(?:^|\s)config:([^#\s]+)")
_NAMED = re.compile(r"(?:%\(here\)s/)?([\w.-][\w./-]*)")
_CONFIGURATION = {".cfg", ".conf", ".ini", ".json", ".toml", ".yaml", ".yml", ".zcml"}


def with_data_folder(
    config: Ini, data: Path, names: Iterable[str] = (), name: str = ""
) -> Iterator[Setting]:
    """Yield the settings with ``%(here)s``, with the data folder in its place.

    :param names: files that are released: where one of them is named, it is found beside the ini
    :param name: that of ``config``, if it is one of them
    """
    is_old = config.spell is ini_python2
    beside = [os.path.relpath(each, os.path.dirname(name) or ".") for each in names]
    kept = "".join(rf"(?!/{re.escape(each)}(?![\w./-]))" for each in beside)
    here = re.compile((_HERE_PYTHON2 if is_old else _HERE) + kept)
    for setting in list(config.settings()):
        if setting.value in beside:
            yield Setting(setting.section, setting.key, f"%(here)s/{setting.value}")
        elif here.search(setting.value):
            rest = here.sub("", setting.value)
            if is_old and "%" in rest and "%(" not in rest:
                raise ValueError(
                    f"{setting.key}: expected no other % beside %(here)s, since Python 2 "
                    f"would read it in another way, got {setting.value!r}"
                )
            folder = encode(config, "data", data, rest)
            value = here.sub(r"\g<1>" + folder.replace("\\", r"\\"), setting.value)
            yield Setting(setting.section, setting.key, value)


def read(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the texts of files beside a template.

    :raises ValueError: if one cannot be read, naming it
    """
    texts = {}
    for name in names:
        try:
            texts[name] = (folder / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not UTF-8"
            raise ValueError(f"files: cannot read {folder / name}: {why}") from error
    return texts


def rendered(texts: Mapping[str, str], data: Path, like: Ini) -> dict[str, Ini | str]:
    """Return files with the data folder in place of ``%(here)s``.

    :param like: the ini that names them, for the quoting of its Python; a file of another
        syntax than an ini's is returned as a text
    """
    found: dict[str, Ini | str] = {}
    for name, text in texts.items():
        try:
            config = Ini(text, like.spell)
        except IniError:
            found[name] = text.replace("%(here)s", str(data))
            continue
        overlay(config, with_data_folder(config, data, texts, name))
        found[name] = config
    return found


def missing(config: Ini, folder: Path, data: Path, names: Iterable[str], name: str) -> list[str]:
    """Return a message for each file that an ini names, and that would not be found.

    :param folder: that of the template
    :param name: that of ``config`` below the folder
    """
    listed = set(names)
    found = []
    for setting in config.settings():
        for path in _below(setting.value):
            below = os.path.normpath(os.path.join(os.path.dirname(name), path))
            is_loaded = "config:" in setting.value
            is_there = Path(below).suffix in _CONFIGURATION and (folder / below).is_file()
            if below not in listed and (is_loaded or (is_there and not (data / path).exists())):
                where = f"[{setting.section}] {setting.key}"
                found.append(f"files: expected {below} among them, which {where} names, got none")
    return found


def _below(value: str) -> list[str]:
    """Return the relative paths that a value names."""
    loaded = [unquote(path).removeprefix("%(here)s/") for path in _CONFIG.findall(value)]
    if loaded:
        return [path for path in loaded if not path.startswith("/")]
    whole = _NAMED.fullmatch(value.strip())
    return [whole[1]] if whole else []


def loaded(config: Ini) -> dict[Path, Ini | str]:
    """Return what an ini loads by an absolute path, and what that loads; or why it cannot."""
    found: dict[Path, Ini | str] = {}
    left = [config]
    while left:
        for path in _absolute(left.pop()):
            if path in found:
                continue
            try:
                found[path] = one = Ini(path.read_text(encoding="utf-8"), config.spell)
                left.append(one)
            except (OSError, UnicodeDecodeError, IniError) as error:
                found[path] = getattr(error, "strerror", None) or str(error)
    return found


def _absolute(config: Ini) -> Iterator[Path]:
    for setting in config.settings():
        for path in _CONFIG.findall(setting.value):
            if path.startswith("/"):
                yield Path(os.path.normpath(unquote(path)))


def loaded_problems(found: Mapping[Path, Ini | str]) -> list[str]:
    """Return a message for each debugger in what was :func:`loaded`, or file that was not."""
    return [
        f"{path}: {problem}"
        for path, one in found.items()
        for problem in (
            [f"cannot be loaded: {one}"] if isinstance(one, str) else debug_problems(one)
        )
    ]
