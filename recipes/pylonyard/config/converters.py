"""Convert the text of an option to its value; quote a value in the syntax of a file.

A converter returns the value, which is safe to pass on, or raises a ``ValueError`` with
"expected ..., got ...".  A quoting function returns the spelling of a value in one syntax: the
value keeps its meaning, or is refused by a ``ValueError``.

>>> ini('100% sure')
'100%% sure'
"""

import os
import pwd
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

V = TypeVar("V")

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LABEL = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
_HOST_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?")
_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = re.compile(rf"{_OCTET}(\.{_OCTET}){{3}}")


def refuse(expected: str, text: str) -> ValueError:
    return ValueError(f"expected {expected}, got {text!r}")


def matching(pattern: str, expected: str) -> Callable[[str], str]:
    """Return a converter that accepts a text which fully matches ``pattern``."""

    def convert(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise refuse(expected, text)
        return text

    return convert


def one_of(*choices: str) -> Callable[[str], str]:
    return matching("|".join(map(re.escape, choices)), " or ".join(choices))


def optional(convert: Callable[[str], V]) -> Callable[[str], V | None]:
    """Return a converter for which the empty text means ``None``."""
    return lambda text: convert(text) if text else None


def default(text: str, convert: Callable[[str], V]) -> Callable[[str], V]:
    """Return a converter for which the empty text means ``text``."""
    return lambda given: convert(given or text)


def listed(convert: Callable[[str], V]) -> Callable[[str], tuple[V, ...]]:
    """Return a converter for words separated by white space."""
    return lambda text: tuple(convert(word) for word in text.split())


def lines(convert: Callable[[str], V]) -> Callable[[str], tuple[V, ...]]:
    """Return a converter for one value on each line; empty lines are ignored."""
    # Not splitlines: buildout ends a line at "\n" alone.
    return lambda text: tuple(convert(line.strip()) for line in text.split("\n") if line.strip())


def code(text: str) -> str:
    """Accept Python code, without empty lines around it."""
    return text.strip("\n")


def pairs(convert: Callable[[str], V]) -> Callable[[str], tuple[tuple[str, V], ...]]:
    """Return a converter for one ``name = value`` on each line."""

    def pair(line: str) -> tuple[str, V]:
        name, equals, value = line.partition("=")
        if not equals or not name.strip():
            raise refuse("name = value", line)
        return text(name.strip()), convert(value.strip())

    return lines(pair)


def whole(low: int, high: int, unit: str = "") -> Callable[[str], int]:
    """Return a converter for whole numbers from ``low`` to ``high``."""
    expected = f"a whole number {unit + ' ' if unit else ''}from {low} to {high}"

    def convert(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
            raise refuse(expected, text)
        return int(text)

    return convert


def text(value: str) -> str:
    if _CONTROL.search(value):
        raise refuse("one line without control characters", value)
    return value


def boolean(value: str) -> bool:
    try:
        return {"true": True, "false": False}[value.lower()]
    except KeyError:
        raise refuse("true or false", value) from None


def path(value: str) -> Path:
    """Convert a path; the recipe makes it absolute, from the folder of the buildout."""
    if not value or _CONTROL.search(value):
        raise refuse("a path without control characters", value)
    try:
        return Path(value).expanduser()
    except RuntimeError:
        raise refuse("a path whose account exists", value) from None


def url_path(value: str) -> str:
    if not re.fullmatch(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*", value):
        raise refuse("a URL path that starts with /", value)
    return value


def host(value: str) -> str:
    """Accept a host name or an address; add brackets to an IPv6 address."""
    if _is_ipv6(f"[{value}]"):
        return f"[{value}]"
    return bracketed_host(value)


def bracketed_host(value: str) -> str:
    """Accept a host name or an address, to which a port may be added: IPv6 in brackets."""
    if _is_ipv6(value) or _IPV4.fullmatch(value):
        return value
    numeric = re.fullmatch(r"[0-9.]+", value)
    if numeric or len(value) > 253 or not _HOST_NAME.fullmatch(value):
        raise refuse("a host name or address", value)
    return value


def listen_host(value: str) -> str:
    return value if value == "*" else host(value)


def _is_ipv6(value: str) -> bool:
    import ipaddress

    if not (value.startswith("[") and value.endswith("]")):
        return False
    try:
        ipaddress.IPv6Address(value[1:-1])
    except ValueError:
        return False
    return "%" not in value


def server_alias(value: str) -> str:
    """Accept a host name in which a web server allows * and ?."""
    try:
        host(value.replace("*", "x").replace("?", "x"))
    except ValueError:
        raise refuse("a host name or address", value) from None
    return value


def host_port(value: str) -> tuple[str, int]:
    name, colon, number = value.rpartition(":")
    if not colon:
        raise refuse("host:port", value)
    return bracketed_host(name), port(number)


port = whole(1, 65535, "(a TCP port)")
section_name = matching(r"[A-Za-z0-9._-]+", "a section name")
version = matching(r"[0-9][A-Za-z0-9.+!_-]*", "a version such as 1.2.7")
script_name = matching(r"[A-Za-z0-9][A-Za-z0-9._-]*", "the name of a script")


def script_names(text: str) -> tuple[tuple[str, str], ...] | None:
    """Accept scripts as ``name`` or ``name=other``; None for all of them."""
    if text.strip() == "*":
        return None
    pairs = [word.partition("=") for word in text.split()]
    return tuple((script_name(a), script_name(b if equals else a)) for a, equals, b in pairs)


def entry_point(text: str) -> tuple[str, str]:
    """Accept a script as ``name=module:function``."""
    name, equals, target = text.partition("=")
    if not equals or not re.fullmatch(r"\w+(\.\w+)*:\w+(\.\w+)*", target):
        raise refuse("name=module:function", text)
    return script_name(name), target


# bin/<site> and <site>/ of a release are beside these.
_TAKEN = frozenset({"bin", "buildout", "etc", "pylonyard", "test"})


def site_name(value: str) -> str:
    """Accept a name that is safe in every syntax, path and message."""
    if value in _TAKEN or not re.fullmatch(r"[a-z][a-z0-9_-]{0,29}", value):
        raise refuse(
            "a name of at most 30 small letters, digits, - and _, starting with a letter"
            f" (not {', '.join(sorted(_TAKEN))})",
            value,
        )
    return value


def account(value: str) -> str:
    """Accept the name of an account, which need not exist yet; empty means the current one."""
    if not value:
        return _current_account()
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", value):
        raise refuse("an account name", value)
    return value


def _current_account() -> str:
    try:
        # Not getpass.getuser: that believes the environment.
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise ValueError(f"expected an account, got uid {os.geteuid()} without a name") from None


def octal_mode(value: str) -> int:
    if not re.fullmatch(r"0?[0-7]{3}", value):
        raise refuse("a mode of three octal digits", value)
    return int(value, 8)


def email(value: str) -> str:
    if not re.fullmatch(r"[^\s@<>,;\"'\x00-\x1f\x7f]+@[A-Za-z0-9.-]+", value):
        raise refuse("an e-mail address", value)
    return value


def requirement(text: str) -> str:
    """Accept a requirement (PEP 508)."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        Requirement(text)
    except InvalidRequirement:
        raise refuse("a requirement such as SimpleSite==0.3.0", text) from None
    return text


# Quoting: one function for each syntax.


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
    """Return a value that both can hold.

    Python 2 takes `` ;`` for the start of a comment, and edge white space is stripped.
    """
    text = without_controls(value, "an ini file")
    if text != text.strip() or " ;" in text:
        raise ValueError(f"{text!r} has edge white space or ' ;', which an ini file loses")
    return text


def python(value: Any) -> str:
    r"""Quote for a literal with the same value in Python 2 and 3.

    Not ``repr``: Python 2 does not know an escape such as ``\u00fc``.
    """
    text = without_controls(value, "a Python file of ours")
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
