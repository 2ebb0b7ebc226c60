"""Checks that need no server: each on a site that a few files make."""

import io
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from pylonyard.activation.journal import Journal
from pylonyard.commands.doctor import command, machine, permissions, server, webserver
from pylonyard.commands.doctor.check import Finding, Subject, bad, good, unknown
from pylonyard.releases.contents import Site
from pylonyard.server.settings import parse
from pylonyard.system import accounts
from pylonyard.system.rootfs import Entry, Tree
from pylonyard.webservers.registry import servers


@pytest.fixture
def place():
    """A folder that every account can pass, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="doctor"))
    folder.chmod(0o755)
    (folder / "etc").mkdir()
    for name in ("shop/env/lib/python3.11", "shop/env/bin"):
        (folder / "releases/1" / name).mkdir(parents=True)
    for name in ("data", "log", "run"):
        (folder / name).mkdir()
    (folder / "current").symlink_to("releases/1")
    for name in ("production.ini", "server.json", "dispatch.wsgi", "env/bin/python"):
        (folder / "releases/1/shop" / name).touch()
    yield folder
    shutil.rmtree(folder)


def server_json(place):
    return {
        "name": "shop",
        "sandbox": str(place),
        "paster": "/bin/true",
        "ini": str(place / "current/shop/production.ini"),
        "port": 8080,
        "log": str(place / "log/shop-server.log"),
        "run": str(place / "run"),
        "application-log": str(place / "log/shop.log"),
        "data": str(place / "data"),
    }


def subject(place, journal=None, user="root", **more):
    values = {
        "name": "shop",
        "user": user,
        "data": place / "data",
        "live": place / "current/shop",
        "log": place / "log",
        "port": 8080,
        "mode": "proxy",
        "server_name": "shop.example.org",
        **more,
    }
    settings = parse(server_json(place), place / "server.json")
    return Subject(Site(**values), settings, place / "current", Tree(place), journal)


def only(findings, check):
    return next(finding for finding in findings if finding.check == check)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="lacks root, who may chown")


@needs_root
def test_code_that_the_account_cannot_read_is_red(place):
    assert only(permissions.code(subject(place, user="nobody")), "code-readable").ok
    folder = place / "releases/1/shop/env/lib/python3.11"
    folder.chmod(0o700)

    found = only(permissions.code(subject(place, user="nobody")), "code-readable")

    assert (found.ok, found.text, found.advice) == (
        False,
        f"nobody cannot read {folder}",
        f"find {folder} -name '.?*' -prune -o ! -type l -exec chmod o+rX {{}} +",
    )


@needs_root
def test_script_that_apache_cannot_reach_is_red(place):
    folder = place / "releases/1/shop"
    os.chown(folder, 65534, 65534)
    folder.chmod(0o700)

    found = only(permissions.code(subject(place, user="nobody", mode="mod_wsgi")), "code-readable")

    assert (found.ok, found.text, found.advice) == (
        False,
        f"www-data cannot enter {folder}",
        f"chmod o+x {folder}",
    )


@needs_root
@pytest.mark.parametrize(
    "check", ["data-writable", "egg-cache-writable", "log-writable", "run-writable"]
)
def test_folder_that_the_account_cannot_write_is_red(place, check):
    (place / "data/egg-cache").mkdir()
    for name in ("data", "data/egg-cache", "log", "run"):
        os.chown(place / name, 65534, 65534)
    assert only(permissions.data(subject(place, user="nobody")), check).ok
    name = check.removesuffix("-writable").replace("egg-cache", "data/egg-cache")
    os.chown(place / name, 0, 0)

    reds = [f for f in permissions.data(subject(place, user="nobody")) if f.ok is False]

    assert [f.check for f in reds] == [check]
    assert reds[0].text == f"nobody cannot write {place / name}"


@needs_root
def test_database_of_another_account_is_red(place):
    os.chown(place / "data", 65534, 65534)
    (place / "data/shop.db").touch()

    found = only(permissions.data(subject(place, user="nobody")), "data-writable")

    assert (found.ok, found.text) == (False, f"nobody cannot write {place}/data/shop.db")


def test_file_that_vanishes_while_the_data_is_looked_at_is_no_fault(place, monkeypatch):
    (place / "data/session").touch()
    look = Path.lstat

    def lstat(path):
        if path.name == "session":
            path.unlink()
        return look(path)

    monkeypatch.setattr(Path, "lstat", lstat)

    assert only(permissions.data(subject(place)), "data-writable") == good(
        "data-writable", f"root can write {place}/data"
    )


@needs_root
def test_file_that_we_may_not_read_is_not_red(place):
    (place / "data/egg-cache").mkdir()
    for name in ("data", "releases/1/shop/env"):
        (place / name).chmod(0o700)

    os.seteuid(65534)
    try:
        found = [*permissions.data(subject(place)), *permissions.code(subject(place))]
    finally:
        os.seteuid(0)

    why = "could not be checked: we may not look at"
    assert found == [
        unknown("data-writable", f"{why} {place}/data"),
        unknown("egg-cache-writable", f"{why} {place}/data/egg-cache"),
        good("log-writable", f"root can write {place}/log"),
        good("run-writable", f"root can write {place}/run"),
        unknown("code-readable", f"{why} {place}/releases/1/shop/env/bin"),
    ]


def test_data_that_is_mounted_read_only_is_red(place, monkeypatch):
    fixed = os.statvfs_result((4096, 4096, 1000, 900, 900, 1000, 900, 900, os.ST_RDONLY, 255))
    monkeypatch.setattr(os, "statvfs", lambda folder: fixed)
    monkeypatch.setattr(Path, "is_mount", lambda path: path == place / "data")

    found = only(permissions.data(subject(place)), "data-writable")

    assert (found.ok, found.text, found.advice) == (
        False,
        f"{place}/data is mounted read-only",
        f"dmesg | tail shows why; mount -o remount,rw {place}/data",
    )


def test_account_that_is_missing_is_red(place):
    user, output = "no-such-account", "there is no account no-such-account"
    (gone,) = server.account(subject(place, user=user, environment="development"))
    (waits,) = server.account(subject(place, user=user, environment="production"))
    (unasked,) = server.running(subject(place, user=user, environment="production"))

    assert (gone.ok, gone.text) == (False, f"{output} on this machine")
    assert gone.advice == f"{accounts.MAKING} {user} && bin/buildout"
    assert (waits.ok, waits.text, waits.advice) == (
        None,
        f"{output} on this machine yet; the activation makes it",
        accounts.as_root("bin/pylonyard activate"),
    )
    assert (unasked.ok, unasked.text) == (None, f"{output} to run it")


def test_debugger_is_red(place):
    (place / "current/shop/production.ini").write_text("[app:main]\ndebug = true\n")

    (finding,) = server.debug(subject(place))

    assert (finding.ok, finding.text) == (
        False,
        "[app:main] debug: expected false outside development, got 'true'",
    )


def laid(place, text, *names):
    """Put a ``wsgi.load`` and the site into the tree, as an activation would."""
    tree = Tree(place)
    load = Entry("file", 0o644, os.geteuid(), os.getegid(), text.encode())
    for name in ("/etc/apache2/mods-available/wsgi.load", *names):
        tree.put(name, load)
    return Journal("x", 1, laid={"/etc/apache2/sites-available/shop.conf": ""})


def test_full_disk_is_red(place, monkeypatch):
    full = os.statvfs_result((4096, 4096, 1000000, 100, 100, 1000, 900, 900, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda folder: full)

    (finding,) = machine.disk(subject(place))

    assert (finding.ok, finding.text) == (False, f"0 MB are free for {place}/data")


def test_disk_without_inodes_is_red(place, monkeypatch):
    full = os.statvfs_result((4096, 4096, 1000, 900, 900, 1000, 3, 3, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda folder: full)

    (finding,) = machine.disk(subject(place))

    assert (finding.ok, finding.text) == (False, f"3 more files can be made in {place}/data")


def test_check_that_fails_itself_hides_no_other(place, monkeypatch):
    def broken(subject):
        raise KeyError("x")
        yield

    monkeypatch.setattr(command, "checks", lambda _: {"disk": broken, "debug": server.debug})

    found = list(command.site_findings(subject(place)))

    assert found[0].ok is None
    assert found[0].text == "could not be checked: KeyError('x')"
    assert found[1].check == "debug"


def test_folder_that_root_must_not_trust_is_red_by_the_name_of_the_check(place, monkeypatch):
    (place / "etc/apache2").mkdir()
    (place / "etc/apache2").chmod(0o777)
    monkeypatch.setattr(command, "checks", lambda _: {"apache-running": webserver.running})

    (found,) = command.site_findings(subject(place))

    assert (found.check, found.ok) == ("apache-running", False)
    assert "/etc/apache2" in found.text
    assert found.advice.startswith("see what is in it, then: chmod o-w ")


@pytest.mark.parametrize("one", servers(), ids=lambda one: one.name)
def test_each_check_is_in_the_table_by_the_name_of_its_line(place, one):
    site = subject(place, server=one.name)
    checks = command.checks(one)

    found = {name: next(iter(check(site))) for name, check in checks.items()}

    assert {name: finding.check for name, finding in found.items()} == {
        name: name for name in checks
    }


@pytest.mark.parametrize(
    ("finding", "line"),
    [
        (good("disk", "room"), "ok    disk                room"),
        (unknown("disk", "who knows"), "-     disk                who knows"),
        (
            bad("disk", "full\x1b[2J", "du"),
            "FAIL  disk                full [2J\n                          -> du",
        ),
    ],
)
def test_finding_is_a_line_and_what_to_do(finding, line):
    assert command.line(finding) == line


def test_colour_marks_red():
    assert command.line(Finding("disk", False, "full"), coloured=True).startswith("\x1b[31;1mFAIL")


def test_only_what_needs_somebody_has_a_line():
    stream = io.StringIO()
    advised = Finding("server-running", None, "never started", "bin/shop start")
    found = [good("visit", "200"), unknown("hello", "no"), good("port", "8080"), advised]

    assert command.write_lines(found, stream)
    assert not command.write_lines([bad("disk", "full", "du"), good("port", "8080")], stream)

    assert stream.getvalue() == (
        "-     server-running      never started\n"
        "                          -> bin/shop start\n"
        "nothing is red; 2 ok, 1 not checked (--all shows each, and why)\n"
        "FAIL  disk                full\n"
        "                          -> du\n"
        "1 red; 1 ok (--all shows each, and why)\n"
    )


def test_unchecked_findings_have_a_line_for_each_reason():
    stream = io.StringIO()
    why = "not activated"
    found = [unknown("visit", why), good("disk", "free"), unknown("hello", why)]

    assert command.write_lines(found, stream, whole=True)

    assert stream.getvalue() == (
        "ok    disk                free\n"
        "-     visit               not activated (also: hello)\n"
        "nothing is red\n"
    )
