"""Each seeded fault, on a scratch machine that serves the site, is named by its check."""

import json
import os
import re
import shutil
import subprocess
import time
from contextlib import contextmanager
from datetime import datetime

import machines
import pytest
from machines import Machine, released
from namespaces import run_in_namespace
from ports import free_port

pytestmark = machines.NEEDED

CONF = "etc/apache2/sites-available/simplesite.conf"


@pytest.fixture(scope="module")
def served(tmp_path_factory, clean_environ):
    """One healthy machine; each fault is undone before the next."""
    with released(tmp_path_factory.mktemp("doctor") / "box", clean_environ) as (checkout, port):
        machine = Machine(tmp_path_factory.mktemp("machine") / "root", checkout, free_port(), port)
        # A number may be used by one more release, which is the same.
        shutil.copytree(checkout.path / "releases/1", checkout.path / "kept", symlinks=True)
        assert machine.run("bin/simplesite", "start").returncode == 0
        machine.httpd("start")
        machine.activate()
        yield machine
        machine.run("bin/simplesite", "stop")
        machine.end()


@pytest.fixture
def machine(served):
    """The machine with all of it as it was, whatever the test before has done."""
    path = served.checkout.path
    kept = shutil.copytree(served.root / "etc", served.root / "kept-etc", symlinks=True)
    # The socket that hands over the server's own cannot be copied, and goes with the server.
    but = shutil.ignore_patterns("*.handover")
    data = shutil.copytree(path / "var", path / "kept-var", symlinks=True, ignore=but)
    journals = shutil.copytree(served.root / "var", served.root / "kept-var", symlinks=True)
    before = _served(served)
    yield served
    _put_back(kept, served.root / "etc")
    _put_back(journals, served.root / "var")
    served.run("sh", "-c", f"umount {path}/var/data/simplesite 2>/dev/null; true")
    for pid in _strangers(served):
        served.run("kill", "-9", pid)
    for name in ("error.log", "simplesite-error.log"):
        (served.root / "log" / name).write_text("")
    served.bin = "bin/pylonyard"
    if _served(served) == before:
        _put_logs_back(data, path / "var")
    else:
        _serve_anew(served, data)
    served.httpd("graceful" if (served.root / "run/apache2.pid").exists() else "start")
    # What it is told before that, it may miss.
    served.sh(
        f"for i in $(seq 200); do grep -q 'resuming normal' {served.root}/log/error.log && exit; "
        "sleep 0.1; done; exit 1"
    )


def _served(machine):
    """Return what the site's server is, and goes by: if it is the same, so is the site."""
    path = machine.checkout.path
    output = machine.run("bin/simplesite", "status", "--json").stdout
    link = (os.readlink(path / "current"), (path / "current").lstat().st_mtime_ns)
    return output, link, _states(path / "releases"), _states(path / "var")


def _states(tree):
    """Return what tells one state of a tree from another; of logs, only whether they are these."""
    found = {}
    for path in tree.rglob("*"):
        status = path.lstat()
        own = (status.st_mode, status.st_uid, status.st_gid, status.st_ino)
        is_log = "log" in path.relative_to(tree).parts[:1]
        found[path] = own if is_log else (*own, status.st_size, status.st_mtime_ns)
    return found


def _put_logs_back(kept, place):
    """Restore the text of the logs in place: processes have them open."""
    for log in (kept / "log").iterdir():
        (place / "log" / log.name).write_bytes(log.read_bytes())
    shutil.rmtree(kept)


def _serve_anew(machine, data):
    path = machine.checkout.path
    (path / "current").unlink()
    (path / "current").symlink_to("releases/1")
    machine.run("bin/simplesite", "stop")
    _put_back(data, path / "var")
    shutil.rmtree(path / "releases")
    (path / "releases").mkdir()
    shutil.copytree(path / "kept", path / "releases/1", symlinks=True)
    started = machine.run("bin/simplesite", "start")
    assert started.returncode == 0, started.stdout


def _put_back(kept, place):
    shutil.rmtree(place)
    kept.rename(place)


def _strangers(machine):
    """Return processes of the namespace that a fault has started."""
    said = machine.run("pgrep", "-f", "other.ini|http.server").stdout
    return said.split()


def diagnosis(machine):
    finished = machine.pylonyard("doctor", "--json")
    # Where it takes long, a line of progress precedes: both streams are one here.
    found = json.loads(finished.stdout[finished.stdout.find("{") :])
    assert finished.returncode == (0 if found["ok"] else 1)
    return {each["check"]: each for each in found["findings"]}


def red(findings):
    return {name for name, each in findings.items() if each["ok"] is False}


FAULTS = {}


def fault(check, *related):
    """Register a fault: the check that has to name it, and those it may well turn red."""

    def register(function):
        FAULTS[function.__name__] = (function, check, set(related))
        return function

    return register


def release(machine):
    return machine.checkout.path / "releases/1"


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def now():
    return datetime.now().strftime("%Y-%m-%d %H:%M:%S")


@contextmanager
def stopped(machine):
    machine.run("bin/simplesite", "stop")
    yield json.loads((release(machine) / "simplesite/server.json").read_text())["port"]


def serve_other(machine, host, port):
    """Serve a copy of the ini by hand, as somebody in a hurry would."""
    ini = machine.checkout.path / "other.ini"
    text = (release(machine) / "simplesite/production.ini").read_text()
    ini.write_text(text.replace("host = 127.0.0.1", f"host = {host}"))
    paster = machine.checkout.path / "current/simplesite/bin/paster"
    machine.sh(f"setsid {paster} serve {ini} >/dev/null 2>&1 &")
    _wait(machine, port)


def _wait(machine, port):
    machine.sh(
        f"for i in $(seq 200); do curl -s -o /dev/null 127.0.0.1:{port} && exit; "
        "sleep 0.1; done; exit 1"
    )


@fault("server-running", "visit", "site-log")
def server_is_stopped(machine):
    machine.run("bin/simplesite", "stop")


@fault("server-running", "visit", "site-log")
def server_was_killed(machine):
    ours = machine.run("pgrep", "-f", "production.ini|pylonyard.server.supervisor").stdout.split()
    assert ours
    machine.run("kill", "-9", *ours)


@fault("port", "server-running", "visit", "site-log", "application")
def port_is_taken(machine):
    with stopped(machine) as port:
        machine.sh(f"setsid python3 -m http.server -b 127.0.0.1 {port} >/dev/null 2>&1 &")
        _wait(machine, port)


@fault("port", "ini", "release-intact")
def ini_has_another_port(machine):
    ini = release(machine) / "simplesite/production.ini"
    port = json.loads((release(machine) / "simplesite/server.json").read_text())["port"]
    edit(ini, f"port = {port}", "port = 4")


@fault("ini", "server-running")
def another_ini_is_served(machine):
    with stopped(machine) as port:
        serve_other(machine, "127.0.0.1", port)


@fault("ini")
def server_is_older_than_the_release(machine):
    machine.sh(f"sleep 2; touch -h {machine.checkout.path}/current")


@fault("ini")
def ini_was_changed_after_the_start(machine):
    machine.sh(f"sleep 2; touch {release(machine)}/simplesite/production.ini")


@fault("ini")
def clock_was_set_back(machine):
    machine.sh(f"touch -h -d '+1 hour' {machine.checkout.path}/current")


@fault("visit", "site-log")
def apache_was_not_reloaded_after_a_change_of_the_port(machine):
    # Apache keeps what it has read: a port on which nobody listens.
    content = (machine.root / CONF).read_text()
    port = json.loads((release(machine) / "simplesite/server.json").read_text())["port"]
    edit(machine.root / CONF, f":{port}", ":9")
    machine.httpd("graceful")
    machine.sh(
        f"for i in $(seq 200); do curl -s -o /dev/null -w '%{{http_code}}' "
        f"-H 'Host: staging.example.org' 127.0.0.1:{machine.site_port} | grep -q 503 && exit; "
        "sleep 0.1; done; exit 1"
    )
    (machine.root / CONF).write_text(content)


@fault("backend-private", "ini", "server-running")
def backend_answers_everybody(machine):
    with stopped(machine) as port:
        serve_other(machine, "0.0.0.0", port)


@fault("application", "visit", "server-log", "application-log")
def application_fails(machine):
    for database in (machine.checkout.path / "var/data/simplesite").glob("*.db"):
        database.write_bytes(b"this is no database" * 100)


@fault("code-readable", "release-intact")
def sandbox_is_gone(machine):
    link = release(machine) / "simplesite/env"
    link.unlink()
    link.symlink_to("/nonexistent")


@fault("hello", "server-running", "release-intact", "visit", "site-log")
def nothing_can_be_served(machine):
    machine.run("bin/simplesite", "stop")
    (release(machine) / "simplesite/bin/paster").write_text("#!/bin/sh\necho no; exit 1\n")


@fault("apache-running", "visit")
def apache_is_stopped(machine):
    machine.httpd("stop")


@fault("apache-config", "active-files", "virtual-host")
def configuration_has_a_typing_error(machine):
    edit(machine.root / CONF, "ProxyRequests", "ProxiRequests")


@fault("site-enabled", "virtual-host")
def site_is_not_enabled(machine):
    machine.a2("a2dissite", "simplesite")


@fault("site-enabled", "active-files", "virtual-host", "apache-config")
def site_file_is_gone(machine):
    (machine.root / CONF).unlink()


@fault("modules")
def module_is_not_enabled(machine):
    machine.a2("a2dismod", "proxy_http")


@fault("virtual-host", "visit")
def another_site_answers_first(machine):
    first = machine.root / "etc/apache2/sites-enabled/000-aaa.conf"
    first.write_text(
        f"<VirtualHost 127.0.0.1:{machine.site_port}>\nServerName staging.example.org\n"
        "DocumentRoot /var/www\n</VirtualHost>\n"
    )


@fault("virtual-host", "visit")
def another_site_has_the_name_among_its_aliases(machine):
    first = machine.root / "etc/apache2/sites-enabled/000-aaa.conf"
    first.write_text(
        f"<VirtualHost 127.0.0.1:{machine.site_port}>\nServerName www.example.org\n"
        "ServerAlias *.Example.org\nDocumentRoot /var/www\n</VirtualHost>\n"
    )
    machine.httpd("graceful")


@fault("apache-log")
def apache_complains(machine):
    stamp = datetime.now().strftime("%a %b %d %H:%M:%S.000000 %Y")
    with open(machine.root / "log/error.log", "a") as log:
        log.write(f"[{stamp}] [core:crit] [pid 7:tid 8] AH00001: out of file descriptors\n")


@fault("site-log")
def virtual_host_complains(machine):
    stamp = datetime.now().strftime("%a %b %d %H:%M:%S.000000 %Y")
    with open(machine.root / "log/simplesite-error.log", "a") as log:
        log.write(f"[{stamp}] [proxy:error] [pid 7:tid 8] AH01114: connection failed\n")


@fault("server-log")
def server_wrote_a_traceback(machine):
    with open(machine.checkout.path / "var/log/simplesite-server.log", "a") as log:
        log.write(f"{now()} said\nTraceback (most recent call last):\n  File x\nKeyError: 'x'\n")


@fault("application-log")
def application_wrote_an_error(machine):
    with open(machine.checkout.path / "var/log/simplesite.log", "a") as log:
        log.write(f"{now()} ERROR [shop] cannot pay, password=hunter2\n")


@fault("application-log")
def error_of_the_application_was_rotated(machine):
    (machine.checkout.path / "var/log/simplesite.log.1").write_text(f"{now()} ERROR cannot pay\n")


@fault("active-files")
def virtual_host_was_edited(machine):
    edit(machine.root / CONF, "Timeout 60", "Timeout 59")


@fault("active-files")
def journal_of_activations_is_damaged(machine):
    (journal,) = (machine.root / "var/lib/pylonyard").glob("*/journal.json")
    journal.write_text("null")


@fault("active-files", "init-script")
def init_script_was_removed(machine):
    (machine.root / "etc/init.d/simplesite").unlink()


@fault("active-files", "ini", "release-intact")
def another_release_is_current(machine):
    path = machine.checkout.path
    shutil.copytree(release(machine), path / "releases/2", symlinks=True)
    (path / "current").unlink()
    (path / "current").symlink_to("releases/2")
    # One that lays the same over /etc would do as well.
    edit(release(machine) / "etc/cron.d/simplesite", "*/2", "*/3")


@fault("release-intact")
def release_was_edited(machine):
    edit(release(machine) / "etc/logrotate.d/simplesite", "weekly", "daily")


@fault("release-intact")
def manifest_is_damaged(machine):
    (release(machine) / "manifest.json").write_text("{")


@fault("release")
def server_settings_are_damaged(machine):
    (release(machine) / "simplesite/server.json").write_text("{")


@fault("release")
def current_leads_nowhere(machine):
    (machine.checkout.path / "current").unlink()
    (machine.checkout.path / "current").symlink_to("releases/9")
    machine.bin = "releases/1/bin/pylonyard"


@fault("debug", "ini", "release-intact")
def debug_is_on(machine):
    edit(release(machine) / "simplesite/production.ini", "debug = false", "debug = true")
    # As it is outside development.
    edit(release(machine) / "simplesite/server.json", '"reload": true', '"reload": false')


@fault("ini-private", "release-intact")
def everybody_reads_the_secrets(machine):
    (release(machine) / "simplesite/production.ini").chmod(0o644)


@fault("disk", "data-writable", "application", "visit", "server-log", "application-log")
def disk_is_full(machine):
    place = f"{machine.checkout.path}/var/data/simplesite"
    machine.sh(
        f"mount -t tmpfs -o size=64k none {place}; head -c 64k /dev/zero > {place}/full || true"
    )


@fault(
    "data-writable",
    "egg-cache-writable",
    "application",
    "visit",
    "server-log",
    "application-log",
)
def data_is_mounted_read_only(machine):
    place = f"{machine.checkout.path}/var/data/simplesite"
    machine.sh(f"mount --bind {place} {place}; mount -o remount,bind,ro {place}")


@fault(
    "log-writable",
    "server-log",
    "application-log",
    "disk",
    "site-log",
    "apache-config",
    "server-running",
)
def log_folder_is_gone(machine):
    machine.sh(f"mv {machine.checkout.path}/var/log {machine.checkout.path}/var/log.old")


@fault("init-script")
def site_does_not_come_up_with_the_machine(machine):
    for link in machine.root.glob("etc/rc?.d/*simplesite"):
        link.unlink()


@fault("cron-entry", "active-files")
def cron_ignores_the_entry(machine):
    (machine.root / "etc/cron.d/simplesite").chmod(0o664)


@fault("cron-entry", "active-files")
def cron_entry_is_gone(machine):
    (machine.root / "etc/cron.d/simplesite").unlink()


AUTHORITY = """
[ca]
default_ca = own
[own]
database = index.txt
new_certs_dir = .
default_md = sha256
rand_serial = yes
policy = any
[any]
commonName = supplied
"""


def certified(machine, name, begins, ends):
    """Give the site a certificate for ``name``; ``begins`` and ``ends`` in days from now."""
    folder = machine.root / "certificate"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "ca.cnf").write_text(AUTHORITY)
    (folder / "index.txt").touch()
    dates = [
        time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + 86400 * days))
        for days in (begins, ends)
    ]
    for command in (
        f"openssl req -new -newkey rsa:2048 -nodes -keyout key -out request -subj /CN={name}",
        "openssl ca -batch -notext -selfsign -config ca.cnf -keyfile key -in request "
        f"-out site.pem -startdate {dates[0]} -enddate {dates[1]}",
    ):
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    place = folder / "site.pem"
    described = release(machine) / "simplesite/site.json"
    paths = {"ssl-certificate": str(place), "ssl-key": str(folder / "key")}
    content = {**json.loads(described.read_text()), **paths, "ssl-port": 4}
    described.write_text(json.dumps(content))


@fault("certificate", "visit", "release-intact")
def certificate_expires_soon(machine):
    certified(machine, "staging.example.org", -9, 3)


@fault("certificate", "visit", "release-intact")
def certificate_has_expired(machine):
    certified(machine, "staging.example.org", -9, -3)


@fault("certificate", "visit", "release-intact")
def certificate_is_for_another_name(machine):
    certified(machine, "www.example.com", -9, 90)


@fault("certificate", "visit", "release-intact")
def certificate_is_not_valid_yet(machine):
    certified(machine, "staging.example.org", 3, 90)


@fault("certificate", "visit", "release-intact")
def key_is_of_another_certificate(machine):
    certified(machine, "staging.example.org", -9, 90)
    key = machine.root / "certificate/key"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)


def test_good_certificate_is_green(machine):
    certified(machine, "staging.example.org", -9, 90)

    found = diagnosis(machine)["certificate"]

    assert found["ok"], found


def test_healthy_site_has_no_red_line(machine):
    finished = machine.pylonyard("doctor")
    last = finished.stdout.splitlines()[-1]
    assert re.fullmatch(r"nothing is red; \d+ ok, \d+ not checked \(--all .*", last), last
    assert "  visit " not in finished.stdout

    finished = machine.pylonyard("doctor", "--all")

    assert finished.returncode == 0, finished.stdout
    assert finished.stdout.splitlines()[-1] == "nothing is red"
    assert "ok    visit " in finished.stdout
    assert "\x1b" not in finished.stdout


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_named_by_its_check(machine, name):
    make, check, related = FAULTS[name]
    make(machine)

    findings = diagnosis(machine)

    assert check in red(findings), findings
    assert red(findings) <= {check, *related}, {n: findings[n]["text"] for n in red(findings)}
    assert findings[check]["advice"]


TYPED = (
    site_is_not_enabled,
    virtual_host_was_edited,
    cron_ignores_the_entry,
    clock_was_set_back,
)


def test_advice_mends_what_it_is_given_for_and_nothing_else(machine):
    """Type each advised command without looking at it."""
    (machine.root / "etc/cron.d/other").write_text("# another's\n")
    (machine.root / "etc/apache2/conf-available/other.conf").write_text("# another's\n")
    for make in TYPED:
        before = _but_ours(machine.snapshot())
        make(machine)
        check = FAULTS[make.__name__][1]
        advice = diagnosis(machine)[check]["advice"]

        machine.type(advice)

        assert check not in red(diagnosis(machine)), (make.__name__, advice)
        assert _but_ours(machine.snapshot()) == before, (make.__name__, advice)


def _but_ours(snapshot):
    """Return what no advice on this site may change: all of ``/etc`` that has not its name."""
    return {n: s for n, s in snapshot.items() if n.startswith("etc/") and "simplesite" not in n}


def test_faults_of_application_and_server_are_distinguished(machine):
    application_fails(machine)

    hello = diagnosis(machine)["hello"]

    assert (hello["ok"], hello["text"]) == (
        True,
        "a Hello World works here: the fault is in the application, or its data",
    )


def test_application_of_a_server_that_is_stopped_is_not_blamed(machine):
    server_is_stopped(machine)

    hello = diagnosis(machine)["hello"]

    assert (hello["ok"], hello["text"]) == (
        True,
        "a Hello World works here: the environment is fine; see the other lines",
    )


def test_secrets_are_not_shown(machine):
    application_wrote_an_error(machine)

    said = machine.pylonyard("doctor").stdout

    assert "password=<masked>" in said
    assert "hunter2" not in said
    for secret in (machine.checkout.path / "var/secrets").rglob("*"):
        assert secret.is_dir() or secret.read_text() not in said


def test_doctor_is_quick_on_a_healthy_site(machine):
    began = time.monotonic()
    machine.pylonyard("doctor")

    assert time.monotonic() - began < 10


PRIVATE = r"""
doctor() { bin/pylonyard doctor --root $1 --json; }
bin/simplesite-httpd start >/dev/null
doctor $TREE | tr -d '\n'; echo
for database in var/data/simplesite/*.db; do echo this is no database >$database; done
bin/simplesite-httpd restart >/dev/null
doctor $TREE | tr -d '\n'; echo
bin/simplesite-httpd stop >/dev/null
"""


def test_site_that_its_private_apache_runs_is_examined_there(public_checkout, tmp_path):
    site = public_checkout()
    port = free_port()
    words = ("site:mode=mod_wsgi", "site:user=www-data", f"vhost:httpd-port={port}")
    site.bootstrap("-c", "staging.cfg", *words)
    (tmp_path / "etc").mkdir()

    lines = run_in_namespace(PRIVATE, site.path, {**site.environ, "TREE": str(tmp_path)})
    healthy, failing = (
        {each["check"]: each for each in json.loads(line)["findings"]} for line in lines
    )

    assert not red(healthy), healthy
    where = f"http://staging.example.org:{port}/"
    assert healthy["visit"]["text"] == f"{where} answers 200"
    assert healthy["hello"]["text"] == "not needed: the application itself answers"
    assert failing["visit"]["text"] == f"{where} answers 500"
    assert red(failing) == {"visit", "application-log"}
    assert failing["hello"]["text"].startswith("a Hello World works here")


ORDINARY = r"""
bin/simplesite start >/dev/null
setpriv --reuid nobody --regid nogroup --clear-groups bin/pylonyard doctor --root $TREE --json
bin/simplesite stop >/dev/null
"""


def test_ordinary_account_sees_nothing_red_in_a_healthy_site(public_checkout):
    site = public_checkout()
    site.bootstrap("-c", "staging.cfg", "site:user=www-data", f"site:port={free_port()}")
    tree = site.path / "tree"
    tree.mkdir()

    text = "".join(run_in_namespace(ORDINARY, site.path, {**site.environ, "TREE": str(tree)}))

    found = {each["check"]: each for each in json.loads(text)["findings"]}
    assert not red(found), found
    assert found["server-running"]["text"] == (
        "could not be checked: only root and www-data may ask for it"
    )
    assert found["application"]["ok"]
