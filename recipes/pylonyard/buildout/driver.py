"""``bin/buildout``: zc.buildout with this project's defaults and one lock."""

import logging
import re
import sys
import urllib.request
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import pylonyard
from pylonyard.buildout import lazy_pip

with lazy_pip.imported_late():
    import zc.buildout.buildout
    import zc.buildout.easy_install

from zc.buildout.buildout import SectionKey

from pylonyard.buildout import last_run, offline_patch, safe_buildout
from pylonyard.packages import downloads, integrity, missing, wheels
from pylonyard.system.errors import LOOK_FIRST
from pylonyard.system.safe_files import finish

DEFAULTS = {
    # A user's ~/.buildout/default.cfg and any buildout.cfg override these.
    "eggs-directory": "cache/eggs",
    "download-cache": "cache",
    "abi-tag-eggs": "true",
}


def unpack_wheel(wheel: str, destination: str) -> None:
    """Unpack a wheel for zc.buildout, which would start pip for each.

    :raises zc.buildout.UserError: if it is damaged, or not what a lock names
    """
    try:
        _check_lock(Path(wheel))
        wheels.unpack(Path(wheel), Path(destination))
    except wheels.WheelError as error:
        is_aside = isinstance(error, integrity.RefusedError) and error.aside
        what = "run this again" if is_aside else f"{LOOK_FIRST}, and run this again"
        raise zc.buildout.UserError(f"{error}; {what}") from error


def _check_lock(wheel: Path) -> None:
    """Refuse a wheel of a distribution that is locked, unless it is the locked file."""
    pylock = sys.modules.get("pylonyard.packages.lock.pylock")
    for lock in pylock.known.values() if pylock else ():
        digests = lock.digests(wheel.name)
        if digests is not None:
            integrity.check_file(wheel, digests, wheel.parent.parent)


def prepare() -> None:
    """Give zc.buildout our defaults and our way to unpack wheels."""
    options = zc.buildout.buildout._buildout_default_options
    for name, value in DEFAULTS.items():
        options[name] = SectionKey(value, "DEFAULT_VALUE")
    # "Reading ..." and "Downloading ..." of every page would bury what matters.
    zc.buildout.easy_install.AllowHostsPackageIndex.info = zc.buildout.easy_install.logger.debug
    urllib.request.install_opener(downloads.opener())
    offline_patch.apply()
    missing.apply()
    zc.buildout.easy_install.UNPACKERS[".whl"] = unpack_wheel
    safe_buildout.prepare()


def _is_verbose(words: Sequence[str]) -> bool:
    return any(re.fullmatch("-[A-Za-z]*v[A-Za-z]*", word) for word in words)


def _noting(tell: Callable[[], None]) -> Callable[[], None]:
    """Return what zc.buildout is to call for an error: it is noted for the doctor, too."""

    def doing() -> None:
        error = sys.exc_info()[1]
        last_run.note(Path(sys.argv[0]).resolve().parent.parent, str(error))
        tell()

    return doing


def main() -> None:
    """Run zc.buildout on the command line's arguments."""
    # Where there is no room for what is told, a trace of the logging would not help.
    logging.raiseExceptions = False
    words = sys.argv[1:]
    if "--version" in words:
        print(f"Pylonyard {pylonyard.__version__}, zc.buildout {version('zc.buildout')}")
        sys.exit(finish("buildout", 0))
    if "--help-all" in words:
        sys.argv[1:] = ["--help"]
    prepare()
    zc.buildout.buildout._doing = _noting(
        # What it was about is told by the error itself.
        zc.buildout.buildout._doing if _is_verbose(sys.argv[1:]) else lambda: None
    )
    zc.buildout.buildout.main(sys.argv[1:])
