"""Passwords: kept as salted scrypt hashes only."""

import base64
import hashlib
import hmac
import secrets
import threading

SHORTEST_PASSWORD = 8
SALT_BYTES = 16
COST, BLOCK_SIZE, PARALLELISM = 2**14, 8, 1
# OpenSSL's own limit is just what these parameters need; some builds of it count more.
MOST_MEMORY = 64 * 1024 * 1024
# Each takes a core and a thread of the server for a while; visitors are to have the others.
MOST_AT_ONCE = 2

_places = threading.BoundedSemaphore(MOST_AT_ONCE)


class TooManyPasswordsError(Exception):
    """As many passwords are checked at this moment as may be at once."""


def hash_password(password: str) -> str:
    """Return the hash of ``password``, with a new salt in it."""
    salt = secrets.token_bytes(SALT_BYTES)
    return f"scrypt${_encoded(salt)}${_encoded(_scrypt(password, salt))}"


def password_matches(password: str, password_hash: str) -> bool:
    """Return whether ``password`` is the one ``password_hash`` was made of.

    :raises TooManyPasswordsError: at once, if others are being checked
    """
    _, salt, expected = password_hash.split("$")
    if not _places.acquire(blocking=False):
        raise TooManyPasswordsError
    try:
        return hmac.compare_digest(_scrypt(password, _decoded(salt)), _decoded(expected))
    finally:
        _places.release()


def generate_password() -> str:
    """Return a new random password."""
    return secrets.token_urlsafe(12)


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(
        password.encode(), salt=salt, n=COST, r=BLOCK_SIZE, p=PARALLELISM, maxmem=MOST_MEMORY
    )


def _encoded(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _decoded(value: str) -> bytes:
    return base64.b64decode(value)
