"""Check the disk, the certificate, and the files that activation laid over ``/etc``."""

import os
import re
import shlex
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from shlex import quote

from pylonyard.commands.doctor.check import (
    ACTIVATE,
    ACTIVATE_FORCED,
    Finding,
    Subject,
    bad,
    good,
    unknown,
)
from pylonyard.system.errors import CommandError, ServerError
from pylonyard.system.rootfs import ABSENT, Entry
from pylonyard.system.safe_files import read_plainly
from pylonyard.system.subprocesses import PROGRAM_PATH
from pylonyard.watchers.init import STARTED
from pylonyard.watchers.registry import starter, watcher

# Certificates and their keys.


NEEDS_ROOT = "run the doctor as root to check this"

OPENSSL_TIMEOUT = 20.0
"""Seconds that ``openssl`` may take."""

HANDSHAKE_TIMEOUT = 5.0
"""Seconds that a server may take to send its certificate."""


@dataclass(frozen=True)
class Certificate:
    """A certificate; ``begins`` and ``ends`` are dates as ``openssl`` prints them."""

    der: bytes
    begins: str
    ends: str
    is_for_name: bool


def parse_certificate(content: bytes, name: str) -> Certificate | None:
    """Return the first certificate of ``content``; None if there is none.

    :param name: the server's host name
    :raises CommandError: if ``openssl`` cannot be run
    """
    output = openssl("x509", "-noout", "-dates", "-checkhost", name, content=content).decode()
    dates = dict(re.findall(r"(notBefore|notAfter)=(.+)", output))
    if len(dates) != 2:
        return None
    der = openssl("x509", "-outform", "DER", content=content)
    return Certificate(der, dates["notBefore"], dates["notAfter"], "does NOT match" not in output)


def served_certificate(address: str, port: int, name: str) -> bytes | None:
    """Return the certificate (DER) that a server sends for ``name``; None if none."""
    context = ssl._create_unverified_context()
    try:
        with (
            socket.create_connection((address, port), HANDSHAKE_TIMEOUT) as connection,
            context.wrap_socket(connection, server_hostname=name) as secured,
        ):
            return secured.getpeercert(binary_form=True)
    except (OSError, ValueError):
        return None


def is_key_of(certificate: bytes, key: bytes) -> bool:
    """Return whether ``key`` belongs to ``certificate``; True for a locked key.

    :raises CommandError: if ``openssl`` cannot be run
    """
    # Without "-passin" it would ask at the terminal for the password of a locked key.
    of_key = openssl("pkey", "-pubout", "-passin", "pass:", content=key)
    of_certificate = openssl("x509", "-noout", "-pubkey", content=certificate)
    return of_key == of_certificate or not of_key


def timestamp(date: str) -> float:
    """Return a date of a certificate in seconds since 1970."""
    moment = datetime.strptime(date.strip(), "%b %d %H:%M:%S %Y GMT")
    return moment.replace(tzinfo=timezone.utc).timestamp()


def openssl(*words: str, content: bytes) -> bytes:
    """Run ``openssl`` on ``content``; return its output, empty if it refuses the content.

    :raises CommandError: if it is missing, or takes too long
    """
    environment = {"PATH": PROGRAM_PATH}
    try:
        return subprocess.run(
            ["openssl", *words],
            input=content,
            env=environment,
            capture_output=True,
            timeout=OPENSSL_TIMEOUT,
        ).stdout
    except OSError as error:
        raise CommandError("openssl", str(error.strerror)) from error
    except subprocess.TimeoutExpired as error:
        raise CommandError("openssl", f"took longer than {OPENSSL_TIMEOUT:g} s") from error


LEAST_SHARE = 0.03
LEAST_BYTES = 50_000_000
"""A disk counts as full if less than both of these are free."""

LEAST_INODES = 500
NOTICE_DAYS = 14
"""A certificate that expires within so many days is red."""


def disk(subject: Subject) -> Iterator[Finding]:
    """Check that the disk has room for data, logs, releases and temporary files."""
    check, least = "disk", None
    for folder in _written_folders(subject):
        try:
            found = os.statvfs(folder)
        except OSError:
            continue
        free = found.f_bavail * found.f_frsize
        share = found.f_bavail / found.f_blocks if found.f_blocks else 1.0
        if free < LEAST_BYTES and share < LEAST_SHARE:
            what = f"{free // 1_000_000} MB are free for {folder}"
            yield bad(check, what, f"du -xh --max-depth=2 {quote(str(folder))} | sort -h | tail")
            return
        if found.f_files and found.f_favail < LEAST_INODES:
            what = f"{found.f_favail} more files can be made in {folder}"
            most = "-printf '%h\\n' | sort | uniq -c | sort -n | tail"
            yield bad(check, what, f"find {quote(str(folder))} -xdev {most}")
            return
        least = min(free, least) if least is not None else free
    if least is None:
        yield unknown(check, "the folders are not there")
    else:
        yield good(check, f"at least {least // 1_000_000} MB are free")


def _written_folders(subject: Subject) -> Iterator[Path]:
    """Yield the folders that a site writes to."""
    settings = subject.settings
    yield from (settings.data, settings.log.parent, settings.run)
    yield subject.current.parent / "releases"
    if subject.is_activated:
        yield subject.machine.log_folder
    yield Path("/tmp")


def certificate(subject: Subject) -> Iterator[Finding]:
    """Check the certificate's dates, name and key, and that it is served."""
    check, path = "certificate", subject.site.ssl_certificate
    if path is None:
        yield unknown(check, "the site has none")
        return
    none = bad(
        check,
        f"{path}: expected a certificate",
        "see ssl-certificate in the section of its virtual host",
    )
    try:
        content = read_plainly(path)
        found = parse_certificate(content, subject.site.server_name)
        if found is None:
            yield none
        else:
            problems = (
                _out_of_date(subject, path, found),
                _of_another_key(subject, content),
                _not_served(subject, found),
            )
            yield next(filter(None, problems), _valid(path, found))
    except PermissionError:
        yield unknown(check, f"could not be checked: we may not read {path}")
    except CommandError as error:
        yield unknown(check, f"could not be checked: {error}")
    except (OSError, ServerError):
        yield none


def _valid(path: Path, found: Certificate) -> Finding:
    return good("certificate", f"{path} is valid for {_days(found):.0f} days more")


def _days(found: Certificate) -> float:
    """Return how many days are left."""
    return (timestamp(found.ends) - time.time()) / 86400


def _out_of_date(subject: Subject, path: Path, found: Certificate) -> Finding | None:
    check, days = "certificate", _days(found)
    renew = f"renew it, then: {subject.webserver.plain_reload}"
    if days < 0:
        return bad(check, f"{path} has expired {-days:.0f} days ago", renew)
    if timestamp(found.begins) > time.time():
        return bad(check, f"{path} is not valid before {found.begins}", "date; is it right?")
    if not found.is_for_name:
        return bad(check, f"{path} is not for {subject.site.server_name}", renew)
    if days < NOTICE_DAYS:
        return bad(check, f"{path} expires in {days:.0f} days", renew)
    return None


def _of_another_key(subject: Subject, content: bytes) -> Finding | None:
    """Compare the certificate's public key with the key's, if we may read the key."""
    path = subject.site.ssl_key
    try:
        if path is None or is_key_of(content, read_plainly(path)):
            return None
    except (OSError, ServerError):
        return None  # a web server refuses a configuration without it
    return bad(
        "certificate",
        f"{path}: the key is not that of the certificate",
        f"put the right one there, then: {subject.webserver.plain_reload}",
    )


def _not_served(subject: Subject, found: Certificate) -> Finding | None:
    """Compare the certificate with the one that the web server sends, if it listens."""
    site = subject.site
    if not (subject.is_activated and site.ssl_port):
        return None
    der = served_certificate(site.listen_address, site.ssl_port, site.server_name)
    if der is None or der == found.der:
        return None
    pem = ssl.DER_cert_to_PEM_cert(der).encode()
    served = parse_certificate(pem, site.server_name)
    if served is None:
        return None
    return bad(
        "certificate",
        f"{subject.webserver.title} still serves the certificate that expires on {served.ends}",
        subject.webserver.plain_reload,
    )


# The files in ``/etc``.


def active(subject: Subject) -> Iterator[Finding]:
    """Check that ``/etc`` has the files of the live release."""
    check, journal = "active-files", subject.journal
    if subject.journal_problem:
        what, _, advice = subject.journal_problem.partition("; ")
        yield bad(check, what, advice or f"move it elsewhere, then: {ACTIVATE}")
        return
    if journal is None or journal.release is None:
        why = NEEDS_ROOT if journal is None else "no release was activated"
        yield _copied_by_hand(subject) or unknown(check, why)
        return
    if journal.is_interrupted:
        yield bad(check, "an activation was interrupted", ACTIVATE)
        return
    current = subject.current.resolve().name
    if is_behind(subject):
        yield bad(
            check,
            f"release {journal.release} is active, and {current} is current",
            ACTIVATE,
        )
        return
    for name, digest in journal.laid.items():
        if Path(name).stem != subject.name and not subject.webserver.is_shared(name):
            continue
        entry = subject.tree.read(name)
        if entry.digest != digest:
            what = "is missing" if entry == ABSENT else "was edited"
            yield bad(check, f"{name} {what}", f"{ACTIVATE_FORCED}  # keeps what is there")
            return
        if entry.mode & 0o022 or entry.uid not in (0, os.geteuid()):
            yield bad(check, f"others than root can change {name}", ACTIVATE)
            return
    yield good(check, f"/etc has what release {current} has for it")


def is_behind(subject: Subject) -> bool:
    """Return whether the active release differs from the live one."""
    active = subject.journal.release if subject.journal else None
    if active is None or str(active) == subject.current.resolve().name:
        return False
    return not _is_same(subject, active)


def _is_same(subject: Subject, active: int) -> bool:
    """Return whether the live release lays the same files over ``/etc`` as the active one."""
    live = subject.current.resolve()
    laid = [_activated_files(folder) for folder in (live.with_name(str(active)), live)]
    return bool(laid[0]) and laid[0] == laid[1]


def _activated_files(release: Path) -> dict[str, bytes]:
    """Return the files of a release that decide what an activation does."""
    places = [*release.glob("etc/**/*"), *release.glob("*/site.json")]
    files = [path for path in places if path.is_file()]
    return {str(path.relative_to(release)): read_plainly(path) for path in files}


def _copied_by_hand(subject: Subject) -> Finding | None:
    """Compare files that somebody copied to ``/etc`` by hand with the live release."""
    if not subject.is_activated:
        return None
    released = subject.current / "etc"
    found = 0
    for path in sorted(path for path in released.rglob("*") if path.stem == subject.name):
        name = f"/etc/{path.relative_to(released)}"
        entry = subject.tree.read(name)
        if entry.kind != "file":
            continue
        found += 1
        if entry.content != read_plainly(path):
            again = shlex.join(["cp", str(path), str(subject.tree.path(name))])
            return bad("active-files", f"{name} is not what the current release has", again)
    text = f"{found} files were copied to /etc, all as released"
    return good("active-files", text) if found else None


def cron(subject: Subject) -> Iterator[Finding]:
    """Check that cron reads the site's entry."""
    check, name = "cron-entry", watcher("cron").file(subject.name)
    journal = subject.journal
    if not subject.site.has_server or journal is None or name not in journal.laid:
        yield unknown(check, NEEDS_ROOT if journal is None else "no entry was activated")
        return
    entry = subject.tree.read(name)
    if entry == ABSENT:
        yield bad(check, f"{name} is missing", ACTIVATE_FORCED)
    elif not _is_read_by_cron(entry):
        what = f"cron ignores {name}: expected a file of root's that others cannot write"
        yield bad(check, what, ACTIVATE if entry.digest == journal.laid[name] else ACTIVATE_FORCED)
    else:
        yield good(check, f"cron reads {name}")


def _is_read_by_cron(entry: Entry) -> bool:
    """Return whether cron reads a file: one of root's that others cannot write."""
    is_roots = entry.kind == "file" and not entry.uid and not entry.mode & 0o022
    return is_roots and entry.content.endswith(b"\n")


def init(subject: Subject) -> Iterator[Finding]:
    """Check that the machine starts the site when it boots."""
    check, name = "init-script", starter().file(subject.name)
    journal = subject.journal
    if not subject.site.has_server or journal is None or name not in journal.laid:
        yield unknown(check, NEEDS_ROOT if journal is None else "no script was activated")
    elif not subject.tree.read(name).mode & 0o100:
        yield bad(check, f"{name} is missing, or cannot be run", ACTIVATE)
    elif subject.name not in starter().enabled(subject.tree):
        words, _ = starter().enable(subject.name)
        yield bad(check, f"no run level of {STARTED} starts it", shlex.join(words))
    else:
        yield good(check, f"{name} is started with the machine")
