"""The disk and the certificate, with real files and the real ``openssl``."""

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from pylonyard.commands.doctor import machine
from pylonyard.commands.doctor.check import unknown

from tests.unit.commands.doctor.test_command_checks import laid, needs_root, place, subject
from tests.unit.commands.doctor.test_permissions import result_of

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

    assert result_of(machine.certificate(secure(place, pem))) == (
        True,
        f"{pem} is valid for 90 days more",
    )


@needs_openssl
@pytest.mark.parametrize("make", [str, os.mkfifo, lambda path: path.write_text("x")])
def test_certificate_that_is_none_is_red(place, make):
    pem = place / "site.pem"
    make(pem)

    assert result_of(machine.certificate(secure(place, pem))) == (
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
    monkeypatch.setattr(machine, "PROGRAM_PATH", f"{place}:/bin" if script else str(place))
    monkeypatch.setattr(machine, "OPENSSL_TIMEOUT", 0.2)

    found = list(machine.certificate(secure(place, place / "site.pem")))

    assert found == [unknown("certificate", f"could not be checked: openssl: {why}")]


def filled(folder, monkeypatch):
    """Have ``folder`` alone be full, as one with a file system of its own is."""
    free = os.statvfs_result((4096, 4096, 1000000, 900000, 900000, 1000, 900, 900, 0, 255))
    full = os.statvfs_result((4096, 4096, 1000000, 100, 100, 1000, 900, 900, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: full if path == folder else free)


@pytest.mark.parametrize("name", ["data", "log", "run", "releases", "apache's logs"])
def test_each_folder_that_is_full_is_red(place, monkeypatch, name):
    journal = laid(place, "")
    folder = place / name
    folder.mkdir(exist_ok=True)
    (place / "etc/apache2/envvars").write_text(f'export APACHE_LOG_DIR="{place}/apache\'s logs"\n')
    site = subject(place, journal)
    site = replace(site, settings=replace(site.settings, run=place / "run"))
    filled(folder, monkeypatch)

    assert result_of(machine.disk(site)) == (False, f"0 MB are free for {folder}")


def test_advice_searches_the_full_folder_itself(place, monkeypatch):
    folder = place / "its data"
    folder.mkdir()
    site = subject(place)
    site = replace(site, settings=replace(site.settings, data=folder))
    filled(folder, monkeypatch)

    (found,) = machine.disk(site)

    assert found.advice == f"du -xh --max-depth=2 '{folder}' | sort -h | tail"


def test_advice_on_inodes_can_be_typed_as_it_is(place, monkeypatch):
    folder = place / "its data"
    folder.mkdir()
    site = subject(place)
    site = replace(site, settings=replace(site.settings, data=folder))
    few = os.statvfs_result((4096, 4096, 1000, 900, 900, 1000, 3, 3, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: few)

    (found,) = machine.disk(site)

    assert found.advice == (
        f"find '{folder}' -xdev -printf '%h\\n' | sort | uniq -c | sort -n | tail"
    )


def test_logs_of_an_apache_that_does_not_serve_the_site_are_not_looked_at(place, monkeypatch):
    filled(Path("/var/log/apache2"), monkeypatch)

    assert result_of(machine.disk(subject(place))) == (True, "at least 3686 MB are free")


@contextlib.contextmanager
def serving(pem, key):
    """Show a certificate to everybody, as Apache does; give the port."""

    def serve():
        while True:
            connection, _ = listening.accept()
            with connection, contextlib.suppress(OSError):
                if not connection.recv(1, socket.MSG_PEEK):
                    return
                with context.wrap_socket(connection, server_side=True) as secured:
                    secured.recv(1)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    context.sni_callback = lambda secured, name, context: names.append(name)
    names = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        port = listening.getsockname()[1]
        yield port
        socket.create_connection(("127.0.0.1", port)).close()
        thread.join()
    assert names == ["shop.example.org"]


@needs_openssl
def test_apache_that_serves_the_certificate_before_is_red(place):
    pem, key = certified(place)
    old = certified(place, "old", days=3)
    ends = subprocess.check_output(
        ["openssl", "x509", "-noout", "-enddate", "-in", old[0]], text=True
    )

    with serving(*old) as port:
        (found,) = machine.certificate(secure(place, pem, key, laid(place, ""), ssl_port=port))

    assert (found.ok, found.text, found.advice) == (
        False,
        f"Apache still serves the certificate that expires on {ends.strip().partition('=')[2]}",
        "service apache2 reload",
    )


@needs_openssl
def test_apache_that_serves_the_first_certificate_of_the_file_is_green(place):
    pem, key = certified(place)
    above, _ = certified(place, "above")
    pem.write_text(f"our own\n{pem.read_text()}{above.read_text()}")

    with serving(pem, key) as port:
        assert result_of(
            machine.certificate(secure(place, pem, key, laid(place, ""), ssl_port=port))
        ) == (
            True,
            f"{pem} is valid for 90 days more",
        )


@needs_openssl
def test_apache_that_says_nothing_is_not_waited_for(place, monkeypatch):
    monkeypatch.setattr(machine, "HANDSHAKE_TIMEOUT", 0.2)
    pem, key = certified(place)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        ok, _ = result_of(
            machine.certificate(secure(place, pem, key, laid(place, ""), ssl_port=port))
        )

    assert ok


@needs_openssl
def test_key_of_another_certificate_is_red(place):
    pem, _ = certified(place)
    _, key = certified(place, "other")

    assert result_of(machine.certificate(secure(place, pem, key))) == (
        False,
        f"{key}: the key is not that of the certificate",
    )


@needs_openssl
def test_key_that_nobody_can_unlock_is_not_red(place):
    pem, _ = certified(place)
    _, key = certified(place, "other")
    locked = place / "locked.key"
    words = ["openssl", "pkey", "-aes256", "-passout", "pass:sesame", "-in", key, "-out", locked]
    subprocess.run(words, check=True)

    assert result_of(machine.certificate(secure(place, pem, locked)))[0]
