"""Certificates and their keys, as ``openssl`` reads them."""

import re
import subprocess
from dataclasses import dataclass
from datetime import datetime, timezone

from pylonyard.errors import CommandError
from pylonyard.running import PROGRAM_PATH

PATIENCE = 20.0
"""Seconds that ``openssl`` is given."""


@dataclass(frozen=True)
class Certificate:
    """What a certificate says; ``begins`` and ``ends`` as ``openssl`` writes them."""

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
    return Certificate(dates["notBefore"], dates["notAfter"], "does NOT match" not in output)


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
