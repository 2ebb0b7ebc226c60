"""The disk and the certificate, with real files and the real ``openssl``."""

import os
import shutil
import subprocess

import pytest
from pylonyard.doctor import certificates, machine
from pylonyard.doctor.findings import unknown
from test_doctor_checks import needs_root, place, subject
from test_doctor_files import told

__all__ = ["place"]  # a fixture

needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="lacks openssl")


def certified(place, name="site", days=90):
    """Make a key, and a certificate for it."""
    pem, key = place / f"{name}.pem", place / f"{name}.key"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    more = ["-subj", "/CN=shop.example.org", "-keyout", key, "-out", pem, "-days", str(days)]
    subprocess.run(["openssl", *words.split(), *more], check=True, capture_output=True)
    return pem, key


def secure(place, pem, key=None, journal=None, **more):
    return subject(place, journal, ssl_certificate=pem, ssl_key=key, **more)


@needs_openssl
def test_certificate_is_green_with_its_days(place):
    pem, _ = certified(place)

    assert told(machine.certificate(secure(place, pem))) == (
        True,
        f"{pem} is valid for 90 days more",
    )


@needs_openssl
@pytest.mark.parametrize("make", [str, os.mkfifo, lambda path: path.write_text("x")])
def test_certificate_that_is_none_is_red(place, make):
    pem = place / "site.pem"
    make(pem)

    assert told(machine.certificate(secure(place, pem))) == (
        False,
        f"{pem}: expected a certificate",
    )


@needs_root
def test_certificate_that_we_may_not_read_is_not_red(place):
    pem = place / "site.pem"
    pem.touch(0o600)

    os.seteuid(65534)
    try:
        found = list(machine.certificate(secure(place, pem)))
    finally:
        os.seteuid(0)

    assert found == [unknown("certificate", f"could not be checked: we may not read {pem}")]


@pytest.mark.parametrize(
    ("script", "why"),
    [(None, "No such file or directory"), ("exec sleep 9", "took longer than 0.2 s")],
)
def test_certificate_that_openssl_does_not_tell_of_is_not_red(place, monkeypatch, script, why):
    (place / "site.pem").touch()
    if script:
        (place / "openssl").write_text(f"#!/bin/sh\n{script}\n")
        (place / "openssl").chmod(0o755)
    monkeypatch.setattr(certificates, "PROGRAM_PATH", f"{place}:/bin" if script else str(place))
    monkeypatch.setattr(certificates, "PATIENCE", 0.2)

    found = list(machine.certificate(secure(place, place / "site.pem")))

    assert found == [unknown("certificate", f"could not be checked: openssl: {why}")]
