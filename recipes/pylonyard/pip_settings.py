"""What pip is configured to do about package indexes; standard library only."""

import configparser
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path


def read(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return pip's settings for ``pip download``, by their long names: ``index-url``.

    The most particular wins: ``PIP_INDEX_URL`` and the like, then what the files say of
    ``download``, then what they say of all commands; the user's files before the machine's.

    :raises ValueError: if a file cannot be read as pip's configuration
    """
    stated: dict[str, dict[str, str]] = {"global": {}, "download": {}, "environment": {}}
    for path in _files(environ):
        for section, settings in _parsed(path).items():
            stated.setdefault(section, {}).update(settings)
    for name, value in environ.items():
        if name.startswith("PIP_") and value:
            stated["environment"][_name(name.removeprefix("PIP_"))] = value
    return {**stated["global"], **stated["download"], **stated["environment"]}


def _parsed(path: Path) -> dict[str, dict[str, str]]:
    parser = configparser.RawConfigParser()
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, ValueError, OSError) as error:
        raise ValueError(f"{path}: {error}") from error
    return {
        section: {_name(name): value for name, value in parser.items(section)}
        for section in parser.sections()
    }


def _name(text: str) -> str:
    return text.lower().replace("_", "-").removeprefix("--")


def _files(environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield the files that pip would read on this system, the most general first."""
    own = environ.get("PIP_CONFIG_FILE")
    if own == os.devnull:
        return
    for folder in (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep):
        yield Path(folder, "pip", "pip.conf")
    yield Path("/etc/pip.conf")
    if not (own and os.path.exists(own)):
        home = Path(environ.get("HOME") or Path.home())
        yield home / ".pip" / "pip.conf"
        yield Path(environ.get("XDG_CONFIG_HOME") or home / ".config", "pip", "pip.conf")
    yield Path(sys.prefix, "pip.conf")
    if own:
        yield Path(own)
