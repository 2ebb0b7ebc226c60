"""The disk's room, and the certificate's time."""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from pylonyard.doctor.findings import Finding, bad, good, unknown
from pylonyard.doctor.subject import Subject
from pylonyard.running import PROGRAM_PATH

LEAST_SHARE = 0.03
LEAST_BYTES = 50_000_000
"""A disk is full with less than both of these free."""

LEAST_INODES = 500
NOTICE_DAYS = 14
"""A certificate that expires within these is red."""


def disk(subject: Subject) -> Iterator[Finding]:
    """See that there is room for data, logs and temporary files."""
    check, least = "disk", None
    for folder in (subject.settings.data, subject.settings.log.parent, Path("/tmp")):
        try:
            found = os.statvfs(folder)
        except OSError:
            continue
        free = found.f_bavail * found.f_frsize
        share = found.f_bavail / found.f_blocks if found.f_blocks else 1.0
        if free < LEAST_BYTES and share < LEAST_SHARE:
            what = f"{free // 1_000_000} MB are free for {folder}"
            yield bad(check, what, f"du -xh --max-depth=2 {folder.parent} | sort -h | tail")
            return
        if found.f_files and found.f_favail < LEAST_INODES:
            what = f"{found.f_favail} more files can be made in {folder}"
            yield bad(check, what, f"find {folder} -xdev | wc -l; remove old sessions")
            return
        least = min(free, least) if least is not None else free
    if least is None:
        yield unknown(check, "the folders are not there")
    else:
        yield good(check, f"at least {least // 1_000_000} MB are free")


def certificate(subject: Subject) -> Iterator[Finding]:
    """See that browsers accept the certificate's dates and name."""
    check, path = "certificate", subject.site.ssl_certificate
    if path is None:
        yield unknown(check, "the site has none")
        return
    words = ["openssl", "x509", "-in", str(path), "-noout", "-dates"]
    words += ["-checkhost", subject.site.server_name]
    output = _openssl(words)
    dates = dict(re.findall(r"(notBefore|notAfter)=(.+)", output))
    if len(dates) != 2:
        yield bad(check, f"{path}: expected a certificate", "see ssl-certificate in [vhost]")
        return
    begins, ends = (_seconds(dates[name]) for name in ("notBefore", "notAfter"))
    days = (ends - time.time()) / 86400
    renew = "renew it, then: service apache2 reload"
    if days < 0:
        yield bad(check, f"{path} has expired {-days:.0f} days ago", renew)
    elif begins > time.time():
        yield bad(check, f"{path} is not valid before {dates['notBefore']}", "date; is it right?")
    elif "does NOT match" in output:
        yield bad(check, f"{path} is not for {subject.site.server_name}", renew)
    elif days < NOTICE_DAYS:
        yield bad(check, f"{path} expires in {days:.0f} days", renew)
    else:
        yield good(check, f"{path} is valid for {days:.0f} days more")


def _openssl(words: list[str]) -> str:
    try:
        finished = subprocess.run(
            words, env={"PATH": PROGRAM_PATH}, capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return finished.stdout


def _seconds(text: str) -> float:
    moment = datetime.strptime(text.strip(), "%b %d %H:%M:%S %Y GMT")
    return moment.replace(tzinfo=timezone.utc).timestamp()
