"""Tell the settings that hold a secret by their names, and mask them; standard library only."""

import re

# No pattern takes longer than in proportion to the line.
_SECRET_KEY = re.compile(
    r"secret|passw|passphrase|passcode|(?<!com)(?<!by)pass(?![a-z])|pwd|pw(?![a-z])|token|key|auth"
    r"|credential|private|dsn|signature|salt|uuid",
    re.IGNORECASE,
)
_ADDRESS_KEY = re.compile(r"(?:url|uri|dsn)s?[\s\"']*$", re.IGNORECASE)
_ADDRESS = re.compile(r"[\"']?[\w+.:-]{1,40}://")
_LOGIN = re.compile(r"://\S*@")
_INNER = re.compile(r"([\w.-]+)(\s*=\s*)(\S+)")


def is_secret(key: str, value: str) -> bool:
    """Return whether the value of a setting is a secret, to judge by its name."""
    # Of an address, only the secrets within it are hidden.
    is_address = _ADDRESS_KEY.search(key) and _ADDRESS.match(value)
    return bool(_SECRET_KEY.search(key)) and not is_address


def masked(assignment: str) -> str:
    """Return ``name=value`` with dots in the place of a secret."""
    name, _, value = assignment.partition("=")
    if is_secret(name.rpartition(":")[2], value):
        return f"{name}=..."

    def inner(found: re.Match[str]) -> str:
        return f"{found[1]}{found[2]}..." if is_secret(found[1], found[3]) else found[0]

    return f"{name}={_INNER.sub(inner, _LOGIN.sub('://...@', value))}"
