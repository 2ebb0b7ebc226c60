"""The doctor's checks of files: the release, ``/etc``, the ini, the links of Apache."""

import contextlib
import dataclasses
import functools
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from pylonyard.activation.journal import Journal
from pylonyard.commands.doctor import machine, permissions, server, webserver
from pylonyard.releases import store
from pylonyard.system import accounts
from pylonyard.system.rootfs import Entry, Tree
from pylonyard.webservers.apache import SERVER

from tests.unit.commands.doctor.test_command_checks import laid, needs_root, only, place, subject

__all__ = ["place"]  # a fixture

VHOST = "/etc/apache2/sites-available/shop.conf"
ENABLED = "/etc/apache2/sites-enabled/shop.conf"
CRON = "/etc/cron.d/shop"
INIT = "/etc/init.d/shop"


def result_of(findings):
    (finding,) = findings
    return finding.ok, finding.text


def put(place, name, text="x\n", mode=0o644):
    Tree(place).put(name, Entry("file", mode, os.geteuid(), os.getegid(), text.encode()))


def active(place, *names, release=1):
    tree = Tree(place)
    return Journal("x", release, laid={name: tree.read(name).digest for name in names})


@pytest.fixture
def released(place):
    """A release with a manifest of a file and a link."""
    folder = place / "releases/1"
    (folder / "text").write_text("made")
    (folder / "text").chmod(0o644)
    (folder / "target").touch()
    (folder / "link").symlink_to("target")
    store.write_manifest(folder, {"text": "part", "link": "part"}, {})
    return folder


def piped(path):
    """Put a pipe in the place of a file; who reads it without care waits for ever."""
    path.unlink()
    os.mkfifo(path)


def test_release_as_it_was_made_is_intact(place, released):
    assert result_of(server.intact(subject(place))) == (
        True,
        "release 1: all files are as they were made",
    )


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda folder: (folder / "text").write_text("edited"), "text: changed since the release"),
        (lambda folder: (folder / "text").chmod(0o600), "text: mode 0600, was made 0644"),
        (lambda folder: (folder / "link").unlink(), "link: the link was changed, or broken"),
        (lambda folder: (folder / "text").unlink(), "text: No such file or directory"),
        (lambda folder: (folder / "manifest.json").write_text("{"), ": the manifest is damaged"),
        (lambda folder: piped(folder / "text"), "text: is no regular file any more"),
        (lambda folder: piped(folder / "manifest.json"), ": the manifest is damaged"),
    ],
)
def test_release_that_was_changed_is_red(place, released, spoil, text):
    spoil(released)

    ok, found = result_of(server.intact(subject(place)))

    assert ok is False
    assert text in found


def test_active_files_are_those_of_the_current_release(place):
    put(place, VHOST)

    assert result_of(machine.active(subject(place))) == (None, machine.NEEDS_ROOT)
    assert result_of(machine.active(subject(place, active(place, release=None)))) == (
        None,
        "no release was activated",
    )
    assert result_of(machine.active(subject(place, active(place, release=2)))) == (
        False,
        "release 2 is active, and 1 is current",
    )
    journal = active(place, VHOST)
    assert result_of(machine.active(subject(place, journal))) == (
        True,
        "/etc has what release 1 has for it",
    )
    put(place, VHOST, "edited")
    assert result_of(machine.active(subject(place, journal))) == (False, f"{VHOST} was edited")
    Path(f"{place}{VHOST}").unlink()
    assert result_of(machine.active(subject(place, journal))) == (False, f"{VHOST} is missing")


@pytest.mark.parametrize("journal", [None, Journal("x", None)])
def test_files_that_were_copied_by_hand_are_compared(place, journal):
    put(place, VHOST, "released")
    copied = place / "current/etc/apache2/sites-available/shop.conf"
    copied.parent.mkdir(parents=True)
    copied.write_text("released")
    (copied.parent / "other.conf").write_text("another site's")
    (place / "current/etc/cron.d").mkdir()
    (place / "current/etc/cron.d/shop").write_text("not copied")

    assert result_of(machine.active(subject(place, journal))) == (
        True,
        "1 files were copied to /etc, all as released",
    )
    copied.write_text("newer")

    (found,) = machine.active(subject(place, journal))

    assert (found.ok, found.text, found.advice) == (
        False,
        f"{VHOST} is not what the current release has",
        f"cp {copied} {place}{VHOST}",
    )


def test_active_file_that_others_can_change_is_red(place):
    put(place, VHOST)
    Path(f"{place}{VHOST}").chmod(0o666)

    (found,) = machine.active(subject(place, active(place, VHOST)))

    assert (found.ok, found.text) == (False, f"others than root can change {VHOST}")
    assert found.advice == "bin/pylonyard activate"


def test_copy_in_place_of_the_link_of_a_site_is_red(place):
    for name in (VHOST, VHOST.replace("available", "enabled")):
        put(place, name)

    (found,) = webserver.enabled(subject(place, active(place, VHOST)))

    assert (found.ok, found.advice) == (
        False,
        "mv --backup=numbered /etc/apache2/sites-enabled/shop.conf "
        f"/etc/apache2/sites-available/shop.conf.copy && a2ensite shop && {SERVER.safe_reload}",
    )


def test_entry_that_cron_ignores_is_red(place):
    put(place, CRON)
    journal = active(place, CRON)
    site = subject(place, journal)

    assert result_of(machine.cron(subject(place))) == (None, machine.NEEDS_ROOT)
    assert result_of(machine.cron(subject(place, active(place)))) == (
        None,
        "no entry was activated",
    )
    Path(f"{place}{CRON}").chmod(0o666)
    assert result_of(machine.cron(site)) == (
        False,
        f"cron ignores {CRON}: expected a file of root's that others cannot write",
    )
    Path(f"{place}{CRON}").unlink()
    assert result_of(machine.cron(site)) == (False, f"{CRON} is missing")


@needs_root
def test_cron_file_of_another_account_is_replaced_not_given_to_root(place):
    put(place, CRON)
    site = subject(place, active(place, CRON))
    entry = Path(f"{place}{CRON}")
    os.chown(entry, 65534, 65534)
    (found,) = machine.cron(site)
    assert found.advice == "bin/pylonyard activate"

    entry.write_text("* * * * * root sh /tmp/theirs\n")
    (found,) = machine.cron(site)
    assert found.advice == "bin/pylonyard activate --force-new"
    entry.unlink()
    entry.symlink_to("/etc/shadow")
    (found,) = machine.cron(site)
    assert found.advice == "bin/pylonyard activate --force-new"


def test_script_that_does_not_start_with_the_machine_is_red(place):
    put(place, INIT, mode=0o755)
    site = subject(place, active(place, INIT))

    assert result_of(machine.init(subject(place))) == (None, machine.NEEDS_ROOT)
    assert result_of(machine.init(subject(place, active(place)))) == (
        None,
        "no script was activated",
    )
    ok, text = result_of(machine.init(site))
    assert (ok, text.startswith("no run level of ")) == (False, True)
    (place / "etc/rc2.d").mkdir()
    (place / "etc/rc2.d/S01shop").symlink_to("../init.d/shop")
    assert result_of(machine.init(subject(place, active(place, INIT)))) == (
        True,
        f"{INIT} is started with the machine",
    )
    Path(f"{place}{INIT}").chmod(0o644)
    assert result_of(machine.init(site)) == (False, f"{INIT} is missing, or cannot be run")


def test_ini_that_everybody_may_read_is_red(place):
    ini = place / "current/shop/production.ini"
    ini.chmod(0o644)
    assert result_of(permissions.ini_private(subject(place))) == (
        False,
        f"{ini} has secrets, and everybody may read it (mode 0644)",
    )
    ini.chmod(0o640)
    assert result_of(permissions.ini_private(subject(place))) == (
        True,
        f"{ini} is private (mode 0640)",
    )
    ini.unlink()
    assert result_of(permissions.ini_private(subject(place))) == (
        None,
        f"{ini}: No such file or directory",
    )
    assert result_of(server.debug(subject(place))) == (
        None,
        f"{ini} cannot be read (FileNotFoundError)",
    )


@pytest.mark.parametrize(("name", "options"), [("", "-R "), ("password", "")])
def test_secret_that_everybody_may_read_is_red(place, name, options):
    (place / "current/shop/production.ini").chmod(0o640)
    folder = place / "var/secrets/shop"
    folder.mkdir(parents=True)
    folder.chmod(0o700)
    (folder / "password").touch()
    (folder / "password").chmod(0o600)
    assert only(permissions.ini_private(subject(place)), "ini-private").ok
    (folder / name).chmod(0o704)

    (found,) = permissions.ini_private(subject(place))

    assert (found.ok, found.text, found.advice) == (
        False,
        f"{folder / name} has secrets, and everybody may read it (mode 0704)",
        f"chmod {options}o-rwx {folder / name}, and change the secrets",
    )


def test_ini_that_is_a_pipe_is_not_read(place):
    ini = place / "current/shop/production.ini"
    piped(ini)

    assert result_of(server.debug(subject(place))) == (None, f"{ini} cannot be read (ServerError)")
    assert result_of(server.port(subject(place))) == (None, f"{ini} cannot be read")


def test_missing_file_and_account_are_reported(place):
    nobody = subject(place, user="no-such-account")
    assert result_of(permissions.code(nobody)) == (None, "there is no account no-such-account")
    assert only(permissions.data(nobody), "log-writable").ok is None
    env = place / "releases/1/shop/env/bin/python"
    env.unlink()
    missing = place / "current/shop/env/bin/python"
    assert result_of(permissions.code(subject(place))) == (
        False,
        f"root cannot read {missing}: No such file or directory",
    )
    assert only(permissions.data(subject(place)), "egg-cache-writable").text == (
        f"{place}/data/egg-cache is made when it is needed"
    )
    (place / "data").rename(place / "elsewhere")
    assert only(permissions.data(subject(place)), "data-writable").ok is False


def test_environment_that_is_gone_is_made_again(place):
    env = place / "releases/1/shop/env"
    shutil.rmtree(env)
    env.symlink_to("/nonexistent")

    (found,) = permissions.code(subject(place))

    assert (found.text, found.advice) == (
        f"root cannot read {place}/current/shop/env/bin/python: No such file or directory",
        "bin/buildout",
    )


@pytest.fixture
def egg(place):
    """An egg outside the sandbox, which a path file names."""
    module = place / "eggs/shop.egg/shop/pay.py"
    module.parent.mkdir(parents=True)
    module.touch()
    packages = place / "releases/1/shop/env/lib/python3.11/site-packages"
    packages.mkdir()
    (packages / "pylonyard.pth").write_text(f"import os\nrelative\n{place}/eggs/shop.egg\n")
    return place / "eggs/shop.egg"


WHOLE = "-name '.?*' -prune -o ! -type l -exec chmod o+rX {} +"


@needs_root
@pytest.mark.parametrize(
    ("name", "what", "mends"),
    [
        ("shop/pay.py", "read", "chmod o+r PATH"),
        ("shop", "read", f"find PATH {WHOLE}"),
        ("", "read", f"find PATH {WHOLE}"),
        ("..", "enter", "chmod o+x PATH"),
    ],
)
def test_egg_that_the_account_cannot_read_is_red(place, egg, name, what, mends):
    site = subject(place, user="nobody")
    assert result_of(permissions.code(site)) == (True, "nobody can read the code and the ini")
    spoilt = (egg / name).resolve()
    spoilt.chmod(0o700 if spoilt.is_dir() else 0o600)

    hidden, elsewhere = egg / "shop/.env", place / "elsewhere"
    for private in (hidden, elsewhere):
        private.touch(mode=0o600)
    (egg / "shop/link").symlink_to(elsewhere)

    (found,) = permissions.code(site)

    told_so = (f"nobody cannot {what} {spoilt}", mends.replace("PATH", str(spoilt)))
    assert (found.text, found.advice) == told_so
    subprocess.run(found.advice, shell=True, check=True)
    assert result_of(permissions.code(site)) == (True, "nobody can read the code and the ini")
    assert [path.stat().st_mode & 0o777 for path in (hidden, elsewhere)] == [0o600, 0o600]


def test_egg_that_is_missing_is_made_again(place, egg):
    shutil.rmtree(egg)

    (found,) = permissions.code(subject(place))

    assert (found.text, found.advice) == (
        f"root cannot read {egg}: No such file or directory",
        "bin/buildout",
    )


@needs_root
def test_files_that_are_no_code_may_be_closed(place, egg):
    for name in (".git", "shop/__pycache__"):
        (egg / name).mkdir(mode=0o700)
    packages = place / "releases/1/shop/env/lib/python3.11/site-packages"
    (packages / "develop.pth").write_text(f"{place}\n")
    (place / "data").chmod(0o700)

    assert only(permissions.code(subject(place, user="nobody")), "code-readable").ok


@needs_root
def test_sandbox_in_a_closed_folder_is_red(place):
    env = place / "releases/1/shop/env"
    store = place / "store"
    store.mkdir()
    (env / "bin").rename(store / "bin")
    env.rename(store / "env")
    (store / "env/bin").symlink_to(place / "bin")
    (store / "bin").rename(place / "bin")
    env.symlink_to(store / "env")
    store.chmod(0o700)

    assert result_of(permissions.code(subject(place, user="nobody"))) == (
        False,
        f"nobody cannot enter {store}",
    )


def test_code_that_was_not_checked_is_reported(place, egg, monkeypatch):
    monkeypatch.setattr(permissions, "MOST_FILES", 2)

    assert result_of(permissions.code(subject(place))) == (
        True,
        "root can read the code and the ini (the first 2 files of it were checked)",
    )


@needs_root
@pytest.mark.parametrize(
    ("uid", "gid", "mode", "mends"),
    [
        (0, 0, 0o640, "chgrp {group} {ini}"),
        (0, 0, 0o600, "chgrp {group} {ini} && chmod g+r {ini}"),
        (0, 65534, 0o600, "chmod g+r {ini}"),
        (65534, 0, 0o040, "chmod u+r {ini}"),
    ],
)
def test_advice_on_an_ini_mends_it(place, uid, gid, mode, mends):
    ini = place / "releases/1/shop/production.ini"
    os.chown(ini, uid, gid)
    ini.chmod(mode)
    site = subject(place, user="nobody")

    (found,) = permissions.code(site)

    mends = mends.format(group=site.owner.group, ini=ini)
    assert (found.text, found.advice) == (f"nobody cannot read {ini}", mends)
    subprocess.run(found.advice, shell=True, check=True)
    assert only(permissions.code(site), "code-readable").ok


@needs_root
def test_apache_joins_the_group_that_reads_the_ini(place):
    ini = place / "releases/1/shop/production.ini"
    os.chown(ini, 0, 65534)
    ini.chmod(0o640)

    (found,) = permissions.code(subject(place, laid(place, ""), user="nobody", mode="embedded"))

    assert (found.text, found.advice) == (
        f"www-data cannot read {ini}",
        "bin/pylonyard activate",
    )


@needs_root
def test_folder_above_the_data_is_opened_by_itself(place):
    inner = place / "data/with space/inner"
    inner.mkdir(parents=True)
    os.chown(inner, 65534, 65534)
    inner.parent.chmod(0o700)
    site = subject(place, user="nobody")
    site = dataclasses.replace(site, settings=dataclasses.replace(site.settings, data=inner))

    found = only(permissions.data(site), "data-writable")

    assert (found.text, found.advice) == (
        f"nobody cannot enter {inner.parent}",
        f"chmod o+x '{inner.parent}'",
    )
    subprocess.run(found.advice, shell=True, check=True)
    assert only(permissions.data(site), "data-writable").ok


@needs_root
def test_home_is_never_opened(place, monkeypatch):
    env = place / "releases/1/shop/env"
    home = place / "home"
    home.mkdir(mode=0o700)
    env.rename(home / "env")
    env.symlink_to(home / "env")
    monkeypatch.setattr("pylonyard.system.accounts.is_home", lambda path: path == home)

    found = only(permissions.code(subject(place, user="nobody")), "code-readable")

    assert (found.text, found.advice) == (
        f"nobody cannot enter {home}",
        "keep it where every account may read, such as below /srv: docs/on-a-real-server.rst",
    )


@pytest.fixture
def kept(place):
    """A site whose folders are those of ``nobody``."""
    for name in ("data", "data/egg-cache", "data/sessions", "log", "run"):
        (place / name).mkdir(exist_ok=True)
        os.chown(place / name, 65534, 65534)
    return functools.partial(subject, place, user="nobody")


@needs_root
@pytest.mark.parametrize(
    ("name", "mode", "check", "given"),
    [
        ("log/shop-server.log", 0o600, "log-writable", "log/shop-server.log"),
        ("log/shop.log", 0o600, "log-writable", "log/shop.log"),
        ("run/shop.lock", 0o600, "run-writable", "run/shop.lock"),
        ("run", 0o755, "run-writable", "run"),
        ("data/sessions", 0o700, "data-writable", "data"),
        ("data/sessions/one", 0o600, "data-writable", "data"),
        ("data/egg-cache/egg", 0o600, "egg-cache-writable", "data/egg-cache"),
    ],
)
def test_file_that_root_has_left_is_red(place, kept, name, mode, check, given):
    assert not [found for found in permissions.data(kept()) if found.ok is not True]
    if not (place / name).exists():
        (place / name).touch()
    os.chown(place / name, 0, 0)
    (place / name).chmod(mode)

    (found,) = (found for found in permissions.data(kept()) if found.ok is not True)

    verb = "read" if "egg-cache" in name else "write"
    assert (found.check, found.text) == (check, f"nobody cannot {verb} {place / name}")
    options, more = ("-R ", "  # if all in it is the site's") if given[:4] == "data" else ("", "")
    whose = f"nobody:{kept().owner.group} {place / given}"
    give = f"chown {options}-h {whose} && chmod {options}u+rwX {place / given}"
    assert found.advice == give + more
    subprocess.run(found.advice, shell=True, check=True)
    assert not [found for found in permissions.data(kept()) if found.ok is not True]


@needs_root
def test_link_that_the_account_could_plant_is_not_followed_by_advice(place, kept):
    secret, log = place / "secret", place / "log/shop-server.log"
    secret.touch(mode=0o600)
    log.symlink_to(secret)

    (found,) = (found for found in permissions.data(kept()) if found.ok is not True)

    assert found.advice == f"ls -l {log}; move it elsewhere"
    log.unlink()
    log.touch(mode=0o600)
    (found,) = (found for found in permissions.data(kept()) if found.ok is not True)
    log.unlink()
    log.symlink_to(secret)  # before the advice is typed
    subprocess.run(found.advice, shell=True, check=True)
    assert (secret.stat().st_uid, secret.stat().st_mode & 0o777) == (0, 0o600)


@needs_root
def test_read_only_file_that_need_not_be_written_is_not_red(place, kept):
    (place / "data/lost+found").mkdir(mode=0o700)
    (place / "data/link").symlink_to("/nonexistent")
    for name, uid in (("data/sessions/own", 65534), ("data/egg-cache/egg", 0)):
        (place / name).touch(mode=0o444)
        os.chown(place / name, uid, uid)
        (place / name).chmod(0o444)

    assert not [found for found in permissions.data(kept()) if found.ok is not True]


@needs_root
def test_apache_needs_no_file_of_a_server(place, kept):
    (place / "log/shop-server.log").touch(mode=0o600)
    os.chown(place / "run", 0, 0)

    found = [*permissions.data(kept(mode="mod_wsgi"))]

    assert [each.check for each in found] == [
        "data-writable",
        "egg-cache-writable",
        "log-writable",
    ]
    assert all(each.ok for each in found)


@needs_root
def test_log_that_apache_itself_writes_is_to_be_shared(place, kept):
    (place / "log").chmod(0o777)
    (place / "log/shop.log").touch(mode=0o600)
    site = kept(journal=laid(place, ""), mode="embedded")

    found = only(permissions.data(site), "log-writable")

    log = place / "log/shop.log"
    assert (found.text, found.advice) == (
        f"www-data cannot write {log}",
        f"chown -h nobody:{site.owner.group} {log} && chmod u+rwX {log} && bin/pylonyard activate",
    )


@needs_root
def test_link_of_the_data_is_followed(place, kept):
    store = place / "store"
    store.mkdir()
    (place / "data").rename(store / "data")
    (place / "data").symlink_to(store / "data")
    assert only(permissions.data(kept()), "data-writable").ok
    store.chmod(0o700)

    assert only(permissions.data(kept()), "data-writable").text == f"nobody cannot enter {store}"


@needs_root
def test_data_that_was_not_checked_are_reported(place, kept, monkeypatch):
    monkeypatch.setattr(permissions, "MOST_FILES", 1)

    found = only(permissions.data(kept()), "data-writable")

    assert (found.ok, found.text) == (
        True,
        f"nobody can write {place}/data (its first 1 files were checked)",
    )


def test_site_that_apache_does_not_have_is_red(place):
    site = subject(place)
    for check in (
        webserver.running,
        webserver.config,
        webserver.enabled,
        webserver.modules,
        webserver.visit,
    ):
        assert result_of(check(site)) == (None, "the site is not activated")
    journal = laid(place, "")
    assert result_of(webserver.enabled(subject(place, journal))) == (
        False,
        "the site shop is not enabled",
    )
    Path(f"{place}{ENABLED}").parent.mkdir(parents=True)
    Path(f"{place}{ENABLED}").symlink_to("../sites-available/shop.conf")
    assert result_of(webserver.enabled(subject(place, journal))) == (
        False,
        "the link of site shop leads nowhere",
    )
    put(place, VHOST)
    assert result_of(webserver.enabled(subject(place, journal))) == (
        True,
        "the site shop is enabled",
    )


def test_module_that_is_not_enabled_is_red(place):
    enabled = place / "etc/apache2/mods-enabled"
    enabled.mkdir(parents=True)
    (enabled / "proxy.load").touch()
    site = subject(place, laid(place, ""), modules=("proxy", "headers"))

    assert result_of(webserver.modules(site)) == (False, "not enabled: headers")
    (enabled / "headers.load").touch()
    assert result_of(webserver.modules(site)) == (
        True,
        "all modules that the site needs are enabled",
    )


def test_port_that_the_ini_does_not_have_is_red(place):
    ini = place / "current/shop/production.ini"
    ini.write_text("[server:main]\nport = 8081\n")

    assert result_of(server.port(subject(place))) == (
        False,
        "the ini says port 8081, the init script and Apache 8080",
    )
    ini.write_text("no ini")
    assert result_of(server.port(subject(place))) == (None, f"{ini} cannot be read")
    assert result_of(server.port(subject(place, mode="mod_wsgi"))) == (
        None,
        "no server of its own in this mode",
    )


def test_port_that_a_stranger_holds_is_red(place):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (place / "current/shop/production.ini").write_text(f"[server:main]\nport = {port}\n")
        site = subject(place, port=port)

        ok, text = result_of(server.port(site))
        assert (ok, text.startswith(f"port {port} is held by process {os.getpid()} (")) == (
            False,
            True,
        )
        assert result_of(server.private(site)) == (True, f"port {port} answers this machine only")
    assert result_of(server.private(site)) == (None, f"nobody listens on port {port}")


@contextlib.contextmanager
def held(**more):
    """Let a process hold a port, as a supervisor does; give the port, and the process."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port, kept = taken.getsockname()[1], [taken.fileno()]
        holder = subprocess.Popen(["sleep", "60"], pass_fds=kept, **more)
    try:
        yield port, holder.pid
    finally:
        holder.kill()
        holder.wait()


@needs_root
@pytest.mark.parametrize(("account", "is_ours"), [("nobody", True), ("daemon", False)])
def test_supervisor_of_the_site_s_account_is_no_stranger(place, account, is_ours):
    mark = {"PYLONYARD_SUPERVISOR": subject(place).settings.identity}
    with held(user=account, env={**os.environ, **mark}) as (port, pid):
        (place / "current/shop/production.ini").write_text(f"[server:main]\nport = {port}\n")
        site = subject(place, user="nobody", port=port)

        assert result_of(server.port(site)) == (
            (True, f"ini, init script and Apache agree on port {port}")
            if is_ours
            else (False, f"port {port} is held by process {pid} (sleep 60)")
        )


def test_server_that_names_no_ini_may_serve_any(place):
    with held() as (port, pid):
        assert result_of(server.ini(subject(place, port=port))) == (
            None,
            f"process {pid} (sleep 60) listens, and names no ini",
        )


def test_state_that_we_may_not_ask_for_is_not_red(place, monkeypatch):
    site = subject(place, user="nobody")
    site = dataclasses.replace(site, settings=dataclasses.replace(site.settings, user="nobody"))
    assert site.owner.uid != 12345  # read by who may
    monkeypatch.setattr(os, "geteuid", lambda: 12345)

    assert result_of(server.running(site)) == (
        None,
        "could not be checked: only root and nobody may ask for it",
    )


def test_server_s_status_is_reported_with_advice(place):
    script = place / "current/bin/shop"
    script.parent.mkdir()
    site = subject(place)
    site.settings.log.parent.mkdir(parents=True, exist_ok=True)
    site.settings.log.touch()
    said = {
        0: (True, "here it is"),
        1: (False, "here it is"),
        3: (None, "here it is: somebody stopped it"),
        4: (False, "here it is"),
        9: (False, "bin/shop status: here it is"),
    }
    for status, expected in said.items():
        script.write_text(f"#!/bin/sh\necho here it is\nexit {status}\n")
        script.chmod(0o755)
        site = subject(place, environment="development")
        assert result_of(server.running(site)) == expected


@pytest.mark.parametrize(
    ("environment", "was_served", "text", "advice"),
    [
        ("development", False, "it was never started", "bin/shop start"),
        ("production", False, "the site is not active", accounts.as_root("bin/pylonyard activate")),
        ("production", True, "the site is not active", accounts.as_root("bin/pylonyard activate")),
    ],
)
def test_site_that_is_not_served_yet_is_not_red_and_has_a_next_step(
    place, environment, was_served, text, advice
):
    script = place / "current/bin/shop"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\necho stopped\nexit 3\n")
    script.chmod(0o755)

    site = subject(place, environment=environment)
    if was_served:
        site.settings.log.parent.mkdir(parents=True, exist_ok=True)
        site.settings.log.touch()

    (found,) = server.running(site)

    assert (found.ok, found.text) == (None, f"stopped: {text}")
    assert found.advice == advice


def test_release_that_lays_the_same_over_etc_need_not_be_activated(place):
    live = (place / "current").resolve()
    older = live.with_name("7")
    for folder in (live, older):
        (folder / "etc").mkdir(parents=True, exist_ok=True)
        (folder / "etc/same").write_text("for /etc")
    for path in [*live.glob("etc/**/*"), *live.glob("*/site.json")]:
        target = older / path.relative_to(live)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            target.write_bytes(path.read_bytes())

    assert result_of(machine.active(subject(place, active(place, release=7))))[0] is True
    (older / "etc/same").write_text("another")
    assert result_of(machine.active(subject(place, active(place, release=7))))[0] is False
