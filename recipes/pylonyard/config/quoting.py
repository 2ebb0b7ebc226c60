"""Quote values: one function for each syntax; a value keeps its meaning, or is refused.

Each function takes a value and returns its spelling; what cannot be spelled
raises ``ValueError`` with a message for the user.

>>> ini('100% sure')
'100%% sure'
"""

import re
import shlex
from typing import Any

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def without_controls(value: Any, syntax: str) -> str:
    """Return a value as text.

    :raises ValueError: if it has a control character, which ``syntax`` cannot hold
    """
    text = str(value)
    if _CONTROL.search(text):
        raise ValueError(f"{text!r} has a control character, which {syntax} cannot hold")
    return text


def sh(value: Any) -> str:
    """Quote for one word of a POSIX shell."""
    return shlex.quote(without_controls(value, "a shell script of ours"))


def cron(value: Any) -> str:
    r"""Quote a command for a crontab, where a bare % ends the command."""
    text = without_controls(value, "a crontab")
    if len(text) > 900:
        raise ValueError(f"a command of {len(text)} characters is too long for cron (900)")
    if "\\" in text:
        raise ValueError(f"{text!r} has a backslash, which cron takes for its own")
    return text.replace("%", r"\%")


def ini(value: Any, around: str = "") -> str:
    """Quote a value of an ini file that PasteDeploy reads on Python 3.

    :param around: the value of which it is to be a part, if it is
    """
    return _ini_text(value).replace("%", "%%")


def ini_python2(value: Any, around: str = "") -> str:
    """Quote a value of an ini file that PasteDeploy reads on Python 2.

    That looks for ``%%`` only if the whole value has ``%(``, which is expanded
    however it is written; and it takes ``""`` for nothing.

    :param around: the value of which it is to be a part, if it is
    """
    text = _ini_text(value)
    if "%(" in text or text == '""':
        raise ValueError(f"{text!r} has %(, or is a pair of quotes, which Python 2 would expand")
    return text.replace("%", "%%") if "%(" in around else text


def _ini_text(value: Any) -> str:
    """Return what both can hold.

    Python 2 takes `` ;`` for the start of a comment, and edge white space is stripped.
    """
    text = without_controls(value, "an ini file")
    if text != text.strip() or " ;" in text:
        raise ValueError(f"{text!r} has edge white space or ' ;', which an ini file loses")
    return text


def logrotate(value: Any) -> str:
    """Quote a path for logrotate, which has no escape inside its quotes."""
    text = without_controls(value, "a logrotate file")
    if re.search(r'["\\*?\[\]{}]', text):
        raise ValueError(f"{text!r} has a character that logrotate cannot hold in a path")
    return f'"{text}"'
