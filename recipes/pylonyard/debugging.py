"""What must not be served to strangers: debuggers that run code or show secrets."""

import re

from pylonyard.inifile import Ini, Setting, is_true

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
