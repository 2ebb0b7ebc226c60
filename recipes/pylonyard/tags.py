"""Which wheels an interpreter can use, and what markers see of it."""

from collections.abc import Mapping

from packaging.markers import default_environment
from packaging.tags import Tag, compatible_tags, cpython_tags, sys_tags

from pylonyard import sandboxes
from pylonyard.interpreters import Interpreter


def supported(interpreter: Interpreter) -> Mapping[Tag, int]:
    """Return the tags of the wheels that an interpreter can use, with their ranks."""
    if interpreter.executable == sandboxes.interpreter():
        return {tag: rank for rank, tag in enumerate(sys_tags())}
    # Python 2.7 counts characters in one of two ways; on Linux it is nearly always "mu".
    abis = ["cp27mu", "cp27m"] if interpreter.series == (2, 7) else None
    name = short_name(interpreter)
    found = [*cpython_tags(interpreter.series, abis), *compatible_tags(interpreter.series, name)]
    return {tag: rank for rank, tag in enumerate(dict.fromkeys(found))}


def short_name(interpreter: Interpreter) -> str:
    return "cp{}{}".format(*interpreter.series)


def environment(interpreter: Interpreter) -> dict[str, str]:
    """Return what markers are about, for an interpreter on this machine."""
    version = "{}.{}.{}".format(*interpreter.version)
    return {
        **{key: str(value) for key, value in default_environment().items()},
        "python_version": "{}.{}".format(*interpreter.series),
        "python_full_version": version,
        "implementation_version": version,
    }
