"""Certificates and their keys, as ``openssl`` reads them, or as a server shows them."""

import re
import socket
import ssl
import subprocess
from dataclasses import dataclass
from datetime import datetime, timezone

from pylonyard.errors import CommandError
from pylonyard.running import PROGRAM_PATH

PATIENCE = 20.0
"""Seconds that ``openssl`` is given."""

SHAKING_HANDS = 5.0
"""Seconds that a server is given to show its certificate."""


@dataclass(frozen=True)
class Certificate:
    """What a certificate says; ``begins`` and ``ends`` as ``openssl`` writes them."""

    der: bytes
    begins: str
    ends: str
    is_for_name: bool


def parse(content: bytes, name: str) -> Certificate | None:
    """Return the first certificate of ``content``; None if there is none.

    :param name: of the server that has it
    :raises CommandError: if ``openssl`` cannot be asked
    """
    output = openssl("x509", "-noout", "-dates", "-checkhost", name, content=content).decode()
    dates = dict(re.findall(r"(notBefore|notAfter)=(.+)", output))
    if len(dates) != 2:
        return None
    der = openssl("x509", "-outform", "DER", content=content)
    return Certificate(der, dates["notBefore"], dates["notAfter"], "does NOT match" not in output)


def served(address: str, port: int, name: str) -> bytes | None:
    """Return the certificate, as DER, that a server shows to who asks for ``name``, if any."""
    context = ssl._create_unverified_context()
    try:
        with (
            socket.create_connection((address, port), SHAKING_HANDS) as connection,
            context.wrap_socket(connection, server_hostname=name) as secured,
        ):
            return secured.getpeercert(binary_form=True)
    except (OSError, ValueError):
        return None


def fits(certificate: bytes, key: bytes) -> bool:
    """Tell whether ``key`` is that of ``certificate``, unless it cannot be read.

    :raises CommandError: if ``openssl`` cannot be asked
    """
    # Without a password, it would ask the terminal for that of a locked key.
    of_key = openssl("pkey", "-pubout", "-passin", "pass:", content=key)
    of_certificate = openssl("x509", "-noout", "-pubkey", content=certificate)
    return of_key == of_certificate or not of_key


def seconds(date: str) -> float:
    """Return a date of a certificate in seconds since 1970."""
    moment = datetime.strptime(date.strip(), "%b %d %H:%M:%S %Y GMT")
    return moment.replace(tzinfo=timezone.utc).timestamp()


def openssl(*words: str, content: bytes) -> bytes:
    """Return what ``openssl`` prints of ``content``; nothing if it refuses that.

    :raises CommandError: if it is missing, or takes too long
    """
    environment = {"PATH": PROGRAM_PATH}
    try:
        return subprocess.run(
            ["openssl", *words],
            input=content,
            env=environment,
            capture_output=True,
            timeout=PATIENCE,
        ).stdout
    except OSError as error:
        raise CommandError("openssl", str(error.strerror)) from error
    except subprocess.TimeoutExpired as error:
        raise CommandError("openssl", f"took longer than {PATIENCE:g} s") from error
