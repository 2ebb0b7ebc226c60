"""The disk's room, and the certificate's time."""

import os
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from shlex import quote

from pylonyard.doctor import certificates
from pylonyard.doctor.certificates import Certificate
from pylonyard.doctor.findings import Finding, bad, good, unknown
from pylonyard.doctor.subject import Subject
from pylonyard.errors import CommandError
from pylonyard.server.errors import ServerError
from pylonyard.server.files import read_plainly

LEAST_SHARE = 0.03
LEAST_BYTES = 50_000_000
"""A disk is full with less than both of these free."""

LEAST_INODES = 500
NOTICE_DAYS = 14
"""A certificate that expires within these is red."""


def disk(subject: Subject) -> Iterator[Finding]:
    """See that there is room for data, logs, releases and temporary files."""
    check, least = "disk", None
    for folder in _written(subject):
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


def _written(subject: Subject) -> Iterator[Path]:
    """Yield the folders that fill up, or that a site cannot do without."""
    settings = subject.settings
    yield from (settings.data, settings.log.parent, settings.run)
    yield subject.current.parent / "releases"
    if subject.is_laid:
        yield subject.httpd.log_folder
    yield Path("/tmp")


def certificate(subject: Subject) -> Iterator[Finding]:
    """See that browsers accept the certificate's dates and name, and that Apache serves it."""
    check, path = "certificate", subject.site.ssl_certificate
    if path is None:
        yield unknown(check, "the site has none")
        return
    none = bad(check, f"{path}: expected a certificate", "see ssl-certificate in [vhost]")
    try:
        content = read_plainly(path)
        found = certificates.parse(content, subject.site.server_name)
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
    return (certificates.seconds(found.ends) - time.time()) / 86400


def _out_of_date(subject: Subject, path: Path, found: Certificate) -> Finding | None:
    check, days = "certificate", _days(found)
    renew = "renew it, then: service apache2 reload"
    if days < 0:
        return bad(check, f"{path} has expired {-days:.0f} days ago", renew)
    if certificates.seconds(found.begins) > time.time():
        return bad(check, f"{path} is not valid before {found.begins}", "date; is it right?")
    if not found.is_for_name:
        return bad(check, f"{path} is not for {subject.site.server_name}", renew)
    if days < NOTICE_DAYS:
        return bad(check, f"{path} expires in {days:.0f} days", renew)
    return None


def _of_another_key(subject: Subject, content: bytes) -> Finding | None:
    """Compare the public key of a certificate with that of the key, if we may read it."""
    path = subject.site.ssl_key
    try:
        if path is None or certificates.fits(content, read_plainly(path)):
            return None
    except (OSError, ServerError):
        return None  # Apache refuses a configuration without it
    return bad(
        "certificate",
        f"{path}: the key is not that of the certificate",
        "put the right one there, then: service apache2 reload",
    )


def _not_served(subject: Subject, found: Certificate) -> Finding | None:
    """Compare a certificate with the one that Apache has read, if it listens."""
    site = subject.site
    if not (subject.is_laid and site.ssl_port):
        return None
    der = certificates.served(site.listen_address, site.ssl_port, site.server_name)
    if der is None or der == found.der:
        return None
    pem = ssl.DER_cert_to_PEM_cert(der).encode()
    served = certificates.parse(pem, site.server_name)
    if served is None:
        return None
    return bad(
        "certificate",
        f"Apache still serves the certificate that expires on {served.ends}",
        "service apache2 reload",
    )
