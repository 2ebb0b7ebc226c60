"""The doctor's report of logs, whatever an application has written there."""

import os
import shlex
import time
from pathlib import Path

import pytest
from pylonyard.commands.doctor import logs
from pylonyard.commands.doctor.check import unknown

from tests.unit.commands.doctor.test_command_checks import laid, only, place, subject
from tests.unit.commands.doctor.test_permissions import result_of

__all__ = ["place"]  # a fixture

LOG = """\
[Sun Jan 04 10:00:00.000000 2026] [core:notice] [pid 1:tid 2] AH00094: Command line
[Sun Jan 04 10:00:01.000000 2026] [wsgi:error] [pid 1:tid 2] Traceback (most recent call last):
[Sun Jan 04 10:00:01.000000 2026] [wsgi:error] [pid 1:tid 2]   File "x", line 1
[Sun Jan 04 10:00:01.000000 2026] [wsgi:error] [pid 1:tid 2] KeyError: 'pw'
[Sun Jan 04 10:00:01.000000 2026] [wsgi:error] [pid 1:tid 2]   import pkg_resources
2026-01-04 11:00:00,123 INFO [shop] fine
2026-01-04 11:00:00,123 ERROR [shop] mysql://me:pw@db is gone
"""


def test_errors_are_found_with_their_time_and_without_secrets():
    found = logs.errors(LOG)

    assert [output.line for output in found] == [
        "KeyError: 'pw'",
        "2026-01-04 11:00:00,123 ERROR [shop] mysql://<masked>db is gone",
    ]
    assert [time.localtime(output.when)[3:6] for output in found] == [(10, 0, 1), (11, 0, 0)]


APACHE = "[Sun Jan 04 10:00:00.000000 2026] [core:error] [pid 1:tid 2] [client ::1:4711] "


@pytest.mark.parametrize(
    "complaint",
    [
        "AH10244: invalid URI path (/cgi-bin/.%2e/.%2e/bin/sh)",
        "AH00126: Invalid URI in request 'x' 'GET x HTTP/1.1'",
        "AH00135: Invalid method in request \\x04\\x01",
    ],
)
def test_bad_request_that_any_client_can_make_is_no_error(complaint):
    assert logs.errors(APACHE + complaint) == []
    assert len(logs.errors(f"{APACHE}AH00037: not allowed: /srv/{complaint}")) == 1


def test_old_errors_are_not_red(place):
    (place / "log/shop-server.log").write_text(LOG)

    assert only(logs.server(subject(place)), "server-log").ok


@pytest.mark.parametrize(
    "plant",
    [lambda log: log.symlink_to("/etc/passwd"), os.mkfifo, Path.mkdir],
    ids=["link", "pipe", "folder"],
)
def test_log_that_is_none_is_red_and_not_read(place, plant):
    log = place / "log/shop-server.log"
    plant(log)

    found = only(logs.server(subject(place)), "server-log")

    assert (found.ok, found.text, found.advice) == (
        False,
        f"{log} is not a regular file",
        f"ls -l {log}; move it elsewhere, and restart what logs there",
    )


def test_advice_on_logs_can_be_typed_as_it_is(place):
    journal = laid(place, "")
    folder = place / "apache's logs"
    folder.mkdir()
    (place / "etc/apache2/envvars").write_text(f'export APACHE_LOG_DIR="{folder}"\n')
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    for name in ("error.log", "shop-error.log"):
        (folder / name).write_text(f"{now} CRITICAL gone\n")
    site = subject(place, journal)

    advice = [found.advice for check in (logs.webserver, logs.site) for found in check(site)]

    assert [shlex.split(each) for each in advice] == [
        ["tail", "-50", f"{folder}/error.log"],
        ["tail", "-50", f"{folder}/shop-error.log"],
    ]


def test_log_that_is_missing_cannot_be_checked(place):
    log = place / "log/shop-server.log"

    assert only(logs.server(subject(place)), "server-log") == unknown(
        "server-log", f"{log}: there is none, or we may not read it"
    )


def test_link_in_the_folder_of_the_machine_s_apache_is_followed(place):
    journal = laid(place, "")
    (place / "etc/apache2/envvars").write_text(f"export APACHE_LOG_DIR={place}/apache\n")
    (place / "apache").mkdir()
    (place / "apache/elsewhere.log").touch()
    (place / "apache/error.log").symlink_to("elsewhere.log")

    assert result_of(logs.webserver(subject(place, journal))) == (
        True,
        f"{place}/apache/elsewhere.log: no errors within the hour",
    )


@pytest.mark.parametrize(
    "line",
    [
        "ERROR " + "token" * 52000,
        "ERROR " + "token " * 43000,
        "ERROR " + "token= " * 37000,
        "ERROR " + "://" * 80000,
        "[" + "a" * 262000,
        "Error" * 52000,
        "ERROR " + "password='" * 26000,
        "ERROR " + "password='a', " * 18000,
        "ERROR " + "password=" + "a, b" * 65000,
        "ERROR " + "://a:" * 52000,
    ],
    ids=lambda line: line[:12],
)
def test_no_line_takes_long(line):
    began = time.monotonic()
    found = logs.errors(line)

    assert time.monotonic() - began < 1
    assert all(len(output.line) <= 200 for output in found)


def test_secret_at_the_end_of_the_searched_text_is_not_shown():
    filled = "token=" + "x" * 1970
    (found,) = logs.errors(f"ERROR {filled} mysql://me:hunter2{'2' * 100}@db")

    assert found.line == "ERROR token=<masked>"
    (found,) = logs.errors("KeyError:" + "x" * 3000)
    assert found.line == "(a line without a space)"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("ERROR password=a=b", "ERROR password=<masked>"),
        ('ERROR {"password": "a"}', 'ERROR {"password": <masked>}'),
        ("ERROR secret_key : a", "ERROR secret_key : <masked>"),
        ("ERROR password = correct horse battery", "ERROR password = <masked>"),
        ("ERROR password = correct, horse, user=joe", "ERROR password = <masked>, user=joe"),
        ("ERROR {'password': 'hunter two', 'a': 1}", "ERROR {'password': <masked>, 'a': 1}"),
        ("ERROR {u'password': u'it\\' s', 'a': 1}", "ERROR {u'password': <masked>, 'a': 1}"),
        ("ERROR password='it's me', a=1", "ERROR password=<masked>, a=1"),
        ("ERROR password='cut off, a=1", "ERROR password=<masked>"),
        ("ERROR [('password', 'hunter two'), 1]", "ERROR [('password', <masked>), 1]"),
        (r"ERROR {\"password\": \"hunter two\"}", r"ERROR {\"password\": <masked>"),
        ("ERROR api_key=a", "ERROR api_key=<masked>"),
        ("ERROR X-Api-Key: a b", "ERROR X-Api-Key: <masked>"),
        ("ERROR pwd a, pwd:b", "ERROR pwd a, pwd:<masked>"),
        ("ERROR DB_PASS=a", "ERROR DB_PASS=<masked>"),
        ("ERROR Authorization: Basic YTpi, x=y", "ERROR Authorization: <masked>"),
        ("ERROR Cookie: a=b; c=d, e=f", "ERROR Cookie: <masked>"),
        ("ERROR {'HTTP_COOKIE': 'a=b; c=d', 'x': 1}", "ERROR {'HTTP_COOKIE': <masked>, 'x': 1}"),
        ("ERROR Bearer abc is stale", "ERROR Bearer <masked> is stale"),
        ("ERROR mysql://u:p@ss@h/db is gone", "ERROR mysql://<masked>h/db is gone"),
        ("ERROR mysql://u:p/s@s@h/db is gone", "ERROR mysql://<masked>h/db is gone"),
        ("ERROR no secret told", "ERROR no secret told"),
        ("ERROR passed: all", "ERROR passed: all"),
        ("ERROR http://example.org/a: no", "ERROR http://example.org/a: no"),
        ("ERROR /srv/secret.py:7: no 'pw'", "ERROR /srv/secret.py:7: no 'pw'"),
        ("IOError: no '/srv/tokens/a.py', sorry", "IOError: no '/srv/tokens/a.py', sorry"),
        ("jwt.InvalidTokenError: it is a", "jwt.InvalidTokenError: <masked>"),
    ],
)
def test_text_that_looks_like_a_secret_is_masked(line, shown):
    (found,) = logs.errors(line)

    assert found.line == shown


def test_secrets_of_the_site_are_not_shown_anywhere(place):
    folder = place / "var/secrets/shop"
    folder.mkdir(parents=True)
    (folder / "database").write_text("open/sesame\n")
    (folder / "short").write_text("pay")
    (folder / "damaged").write_bytes(b"\xff" * 10)
    os.mkfifo(folder / "pipe")
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    log = place / "log/shop.log"
    log.write_text(f"{now} ERROR cannot pay with open/sesame, nor with open%2Fsesame\n")

    assert only(logs.server(subject(place)), "application-log").text == (
        f"{log}: {now} ERROR cannot pay with <masked>, nor with <masked>"
    )


def test_line_after_a_hole_is_shown():
    (found,) = logs.errors("\0" * 250000 + "[Sun Jan 04 10:00:00.000000 2026] [core:crit] gone")

    assert found.line == "gone"
    assert time.localtime(found.when)[3:6] == (10, 0, 0)


def ago(seconds):
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time.time() - seconds))


def test_error_that_was_rotated_within_the_hour_is_red(place):
    log = place / "log/shop.log"
    log.write_text(f"{ago(60)} INFO fine\n")
    rotated, when = place / "log/shop.log.1", ago(120)
    rotated.write_text(f"{ago(7200)} ERROR old\n{ago(150)} ERROR lost\n{when} ERROR gone\n")

    found = only(logs.server(subject(place)), "application-log")

    assert (found.ok, found.text, found.advice) == (
        False,
        f"{rotated}: {when} ERROR gone (the last of 2 within the hour)",
        f"tail -50 {rotated}",
    )


def test_errors_before_and_after_a_rotation_are_counted_together(place):
    log = place / "log/shop.log"
    when = ago(60)
    log.write_text(f"{when} ERROR here\n")
    (place / "log/shop.log.1").write_text(f"{ago(120)} ERROR gone\n")

    found = only(logs.server(subject(place)), "application-log")

    assert found.text == f"{log}: {when} ERROR here (the last of 2 within the hour)"
    assert found.advice == "bin/shop log"


def planted(path):
    path.symlink_to("/etc/passwd")


def aged(path):
    path.write_text(f"{ago(60)} ERROR of a clock that was wrong\n")
    os.utime(path, (0, time.time() - 4000))


@pytest.mark.parametrize(
    "make",
    [planted, os.mkfifo, aged, lambda path: path.write_text("Traceback (\nKeyError: 1\n")],
    ids=["link", "pipe", "old", "without a time"],
)
def test_rotated_log_without_a_recent_error_is_not_red(place, make):
    (place / "log/shop.log").touch()
    make(place / "log/shop.log.1")

    assert only(logs.server(subject(place)), "application-log").ok


def test_error_within_the_hour_is_found_behind_much_else(place):
    log = place / "log/shop.log"
    when = ago(1800)
    log.write_text(f"{ago(7200)} ERROR old\n{when} ERROR gone\n" + f"{ago(60)} INFO fine\n" * 40000)

    assert result_of(found for found in logs.server(subject(place)) if found.ok is False) == (
        False,
        f"{log}: {when} ERROR gone",
    )


def test_log_that_is_read_in_part_says_so(place):
    log = place / "log/shop.log"
    log.write_text(f"{ago(1800)} ERROR gone\n" + f"{ago(60)} INFO fine\n" * 300000)
    began = time.process_time()

    found = only(logs.server(subject(place)), "application-log")

    assert (found.ok, found.text) == (True, f"{log}: no errors in its last 8 MB")
    assert time.process_time() - began < 5


def test_old_error_of_a_log_without_times_is_not_looked_for(place):
    log = place / "log/shop-server.log"
    log.write_text("KeyError: 1\n" + "fine\n" * 60000)

    assert only(logs.server(subject(place)), "server-log").ok


def test_errors_before_the_last_start_are_reported_and_not_red(place, monkeypatch):
    log = place / "log/shop-server.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(f"{ago(600)} ERROR no database\n{ago(60)} pylonyard: started the server\n")
    monkeypatch.setattr(logs, "_last_start_time", lambda subject: time.time() - 60)

    found = next(logs.server(subject(place)))

    assert found.ok is True
    assert "no errors since; before the last start: " in found.text
    assert found.text.endswith("ERROR no database")
    with log.open("a") as stream:
        stream.write(f"{ago(5)} ERROR no disk\n")
    found = next(logs.server(subject(place)))
    assert found.ok is False
    assert found.text.endswith("ERROR no disk")


def test_line_of_another_web_server_tells_its_error_and_its_time():
    line = "2026/01/31 10:00:00 [error] 7#7: *1 connect() failed (111: Connection refused)"

    (found,) = logs.errors(f"2026/01/31 09:59:59 [notice] 7#7: start\n{line}\n")

    assert found.line == line
    assert found.when == logs._time("2026-01-31 10:00:00,000 ERROR it is the same")
