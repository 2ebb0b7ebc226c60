"""Activation on ``/`` itself, in namespaces, with Debian's own Apache and init scripts."""

import contextlib
import json
import os
import re
import stat
import time

import machines
import pytest
from next_lines import answers, released, type_advice, type_stop_advice
from real_machines import UID, difference, real_machine

pytestmark = machines.NEEDED

VHOST = "/etc/apache2/sites-available/simplesite.conf"
CRON = "/etc/cron.d/simplesite"


@pytest.fixture(scope="module")
def make(public_folder, clean_environ):
    """Give a function that makes a machine with a release of a mode."""
    environ = {**clean_environ, "BUILDOUT_HOME": str(public_folder / "home")}
    return lambda mode: real_machine(public_folder, environ, f"site:mode={mode}")


@pytest.fixture(scope="module")
def proxied(make):
    with make("proxy") as machine:
        yield machine


@contextlib.contextmanager
def running(machine):
    """Start Apache; the machine is as it was when the block has ended."""
    before = machine.snapshot()
    machine.run("service", "apache2", "start")
    yield machine
    machine.pylonyard("deactivate")
    machine.run("service", "apache2", "stop")
    assert difference(before, machine.snapshot()) == ""
    assert machine.owners("production.ini") == set()


@pytest.fixture
def proxy(proxied):
    with running(proxied):
        yield proxied


@pytest.fixture(scope="module")
def releases(make):
    """A machine with a release of each mode: 1 mod_wsgi, 2 embedded, 3 proxy."""
    with make("mod_wsgi") as machine:
        for mode in ("embedded", "proxy"):
            words = ["-c", "production.cfg", "site:port=8080", f"site:mode={mode}"]
            machine.run("bin/buildout", *words, net=False)
        yield machine


@pytest.fixture
def changing(releases):
    """The same; give what makes a release current, and lays it over /etc."""

    def change(number):
        link = releases.checkout.path / "current"
        link.unlink()
        link.symlink_to(f"releases/{number}")
        return releases.run("bin/pylonyard", "activate", check=False).stdout

    with running(releases):
        yield releases, change


def test_site_is_served_then_all_is_as_before(proxy):
    before = proxy.snapshot()

    said = proxy.pylonyard("activate")

    assert said.splitlines()[-3] == "# release 1 is active now"
    assert said.splitlines()[-2].startswith("# simplesite: answers 200 as http://www.example.org/")
    assert proxy.visit() == "200"
    assert proxy.owners("production.ini") == {"simplesite"}
    assert proxy.run("/etc/init.d/simplesite", "status").stdout.startswith("simplesite: running")
    for name, mode in ((VHOST, 0o644), (CRON, 0o644), ("/etc/init.d/simplesite", 0o755)):
        status = proxy.path(name).lstat()
        assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (mode, 0, 0)
    assert "nothing is red" in proxy.pylonyard("doctor")
    assert "nothing to do" in proxy.pylonyard("activate")

    proxy.pylonyard("deactivate")

    assert difference(before, proxy.snapshot()) == ""
    assert proxy.owners("production.ini") == set()


def test_apache_that_does_not_run_is_started_and_stopped(proxied):
    # As after a boot: nothing that Apache makes at its first start is there.
    proxied.run("rm", "-rf", "/run/apache2", "/run/lock/apache2")
    before = proxied.snapshot()

    assert "service apache2 start" in proxied.pylonyard("activate").splitlines()
    assert proxied.visit() == "200"

    proxied.pylonyard("deactivate")
    proxied.run("service", "apache2", "stop")
    assert difference(before, proxied.snapshot()) == ""


def test_dry_run_states_the_same_steps_and_takes_none(proxy):
    before = proxy.snapshot()

    output = proxy.pylonyard("activate", "--dry-run")

    assert difference(before, proxy.snapshot()) == ""
    taken = proxy.pylonyard("activate")
    assert _steps(output) == _steps(taken)


def _steps(said):
    """Return the commands, without notes, and without how long one takes on a slow machine."""
    return [x for x in said.splitlines() if not re.match(r"#|Running |pylonyard: .*: \d+ s$", x)]


def test_edited_conffile_is_kept(proxy):
    proxy.pylonyard("activate")
    vhost = proxy.path(VHOST)
    vhost.write_text(vhost.read_text() + "# mine\n")
    edited = vhost.read_text()

    assert "edited here, and left so" in proxy.pylonyard("activate")
    assert vhost.read_text() == edited

    proxy.pylonyard("deactivate")
    old = proxy.path(f"{VHOST}.pylonyard-old.disabled")
    assert old.read_text() == edited
    old.unlink()


@contextlib.contextmanager
def broken(machine):
    """Have somebody else's virtual host be one that Apache refuses."""
    bad = machine.path("/etc/apache2/sites-enabled/broken.conf")
    bad.write_text("NoSuchDirective on\n")
    yield
    bad.unlink()


STRANGER = "exec python3 -m http.server 80 --bind 127.0.0.1 >/dev/null 2>&1"


def test_apache_that_cannot_start_for_a_stranger_on_its_port_is_no_success(proxied):
    for action in ("start", "stop"):  # which makes what it needs in /run
        proxied.run("service", "apache2", action)
    before = proxied.snapshot()
    number = proxied.run("sh", "-c", f"({STRANGER}) >/dev/null & echo $!").stdout.strip()
    while proxied.visit() == "000":
        pass

    said = proxied.pylonyard("activate", check=False)

    proxied.run("kill", number)
    assert "service apache2 start: Apache does not run 5 s after it was started" in said
    assert said.endswith("; all is as it was before\n")
    assert difference(before, proxied.snapshot()) == ""
    assert proxied.owners("production.ini") == set()


def test_bad_virtual_host_is_put_back(proxy):
    with broken(proxy):
        before = proxy.snapshot()

        said = proxy.run("bin/pylonyard", "activate", check=False).stdout

        assert "Invalid command 'NoSuchDirective'" in said
        assert said.endswith("; all is as it was before\n")
        assert difference(before, proxy.snapshot()) == ""
        assert proxy.owners("production.ini") == set()


def test_server_that_ran_before_goes_on_when_one_at_another_port_cannot_start(proxy):
    proxy.pylonyard("activate")
    words = ["-c", "production.cfg", "site:mode=proxy", "site:port=8090"]
    words += ["init:variables=PYTHONHOME = /nowhere", "release:load=false"]
    proxy.run("bin/buildout", *words, net=False)

    said = proxy.pylonyard("activate", check=False)

    step, failure = _steps(said)[-2:]
    assert step == "/etc/init.d/simplesite restart"
    assert "simplesite: was not restarted, the old server goes on" in failure
    assert failure.endswith("; all is as it was before")
    assert proxy.visit() == "200"
    proxy.pylonyard("rollback")


def test_rollback_over_a_change_of_the_port(proxy):
    proxy.pylonyard("activate")
    before = proxy.run("readlink", "current").stdout.strip().removeprefix("releases/")
    words = ["-c", "production.cfg", "site:mode=proxy", "site:port=8091"]
    proxy.run("bin/buildout", *words, net=False)
    proxy.pylonyard("activate")
    assert (proxy.visit(), served_at(proxy)) == ("200", "8091")

    said = proxy.pylonyard("rollback", before)

    assert f"Release {before} is current, and active." in said
    assert (proxy.visit(), served_at(proxy)) == ("200", "8080")


def served_at(machine):
    """Return the port at which the site's own server answers."""
    said = machine.run("bin/simplesite", "status").stdout
    return said.rpartition("http://127.0.0.1:")[2].partition("/")[0]


def test_server_that_was_stopped_for_mod_wsgi_is_started_again_when_that_fails(changing):
    machine, change = changing
    change(3)
    assert machine.visit() == "200"
    before = machine.snapshot()

    with broken(machine):
        said = change(1)

    assert "/etc/init.d/simplesite stop" in said
    assert said.endswith("; all is as it was before\n")
    assert difference(before, machine.snapshot()) == ""
    assert machine.owners("production.ini") == {"simplesite"}
    assert machine.visit() == "200"


def test_server_that_a_person_had_stopped_stays_so(changing):
    machine, change = changing
    change(3)
    machine.run("/etc/init.d/simplesite", "stop")

    with broken(machine):
        change(1)

    assert machine.owners("production.ini") == set()


@contextlib.contextmanager
def out_of_service(machine):
    """Have Apache answer 503 for all of its sites."""
    whole = machine.path("/etc/apache2/conf-enabled/out-of-service.conf")
    whole.write_text('<Location "/">\n    Redirect 503\n</Location>\n')
    yield
    whole.unlink()
    machine.run("service", "apache2", "reload")
    # Until its children have read that, they answer as before.
    deadline = time.monotonic() + 60
    while machine.visit() == "503" and time.monotonic() < deadline:
        time.sleep(0.1)


def test_mod_wsgi_goes_on_when_the_change_to_a_server_fails(changing):
    machine, change = changing
    assert "release 1 is active now" in change(1)
    assert machine.visit() == "200"
    assert machine.owners("(wsgi:simplesite") == {"simplesite"}
    before = machine.snapshot()

    with out_of_service(machine):
        said = change(3)

    assert "/etc/init.d/simplesite start" in said
    assert "answers 503" in said
    assert difference(before, machine.snapshot()) == ""
    assert machine.owners("production.ini") == set()
    assert machine.visit() == "200"


def test_modes_change_and_change_back(changing):
    machine, change = changing
    for number in (3, 1, 3, 2, 1):
        assert f"release {number} is active now" in change(number)
        assert machine.visit() == "200"
        assert machine.owners("production.ini") == ({"simplesite"} if number == 3 else set())
        enabled = machine.path("/etc/apache2/mods-enabled/wsgi.load")
        assert enabled.is_symlink() == (number != 3)


def test_last_line_brings_a_site_that_runs_to_its_new_mode_or_port(changing):
    machine, change = changing
    change(3)
    machine.pylonyard("deactivate")
    machine.run("bin/simplesite", "start")

    mod_wsgi = ("site:port=8080", "site:mode=mod_wsgi", "vhost:httpd-port=8082")
    type_stop_advice(machine, *mod_wsgi)
    type_advice(machine, released(machine, *mod_wsgi)[-1])
    assert answers(machine, 8082) == "200"

    line = released(machine, *mod_wsgi[:2], "vhost:httpd-port=8083")[-1]
    refused = machine.run("bin/simplesite-httpd", "start", check=False)
    assert "not on 127.0.0.1:8083: bin/simplesite-httpd graceful" in refused.stdout
    type_advice(machine, line)
    assert answers(machine, 8083) == "200"

    type_stop_advice(machine, "site:port=8080", "site:mode=proxy")
    assert answers(machine, 8083) == "000"


def modes(machine):
    """Return modes and owners of all in var, and of the ini."""
    path = machine.checkout.path
    found = {}
    for place in [
        *sorted((path / "var").rglob("*")),
        path / "releases/2/simplesite/production.ini",
    ]:
        # SQLite has these while somebody has the database open, and after a kill.
        if place.name.endswith(("-shm", "-wal")):
            continue
        status = place.lstat()
        found[str(place.relative_to(path))] = (
            oct(stat.S_IMODE(status.st_mode)),
            status.st_uid,
            status.st_gid,
        )
    return found


def test_embedded_application_reads_its_ini_and_writes_its_data(changing):
    """As Apache's account, which reads the secrets by its membership alone."""
    machine, change = changing
    path = machine.checkout.path
    before = modes(machine)

    said = change(2)

    assert "usermod -a -G simplesite www-data" in said.splitlines()
    shared = f"runuser -u simplesite -- chmod -R g+rwX {path}/var/data/simplesite"
    assert shared in said.splitlines()
    assert machine.visit() == "200", machine.path(
        "/var/log/apache2/simplesite-error.log"
    ).read_text()
    assert before["releases/2/simplesite/production.ini"] == ("0o640", 0, UID)
    said = machine.run("python3", "-c", COMMENT, PYTHONPATH=os.path.dirname(__file__)).stdout
    assert "Thank you for your comment." in said
    assert machine.owners("apache2 -k start") == {"root", "www-data"}
    assert "nothing is red" in machine.pylonyard("doctor")
    assert "nothing to do" in change(2)

    machine.pylonyard("deactivate")

    assert modes(machine) == before
    assert "simplesite" not in machine.run("id", "-Gn", "www-data").stdout.split()


def test_folders_opened_for_embedding_are_closed_for_a_server_of_its_own(changing):
    machine, change = changing
    data = machine.checkout.path / "var/data/simplesite"
    before = data.stat().st_mode
    change(2)
    assert data.stat().st_mode != before

    change(1)
    change(3)

    assert machine.visit() == "200"
    assert data.stat().st_mode == before
    assert "simplesite" not in machine.run("id", "-Gn", "www-data").stdout.split()
    assert "nothing to do" in machine.pylonyard("activate")


COMMENT = """
from browser import Browser
browser = Browser("http://127.0.0.1", "www.example.org")
text = {"author": "Ann", "text": "Written by Apache's account.", "website": ""}
print(browser.submit("/contact", action="/pages/[0-9]+/comment", **text))
"""


def test_nobody_else_reads_the_secrets_of_an_embedded_site(changing):
    machine, change = changing
    change(2)
    ini = machine.checkout.path / "releases/2/simplesite/production.ini"

    read = machine.run("cat", ini, user="games", check=False)

    assert "Permission denied" in read.stdout
    assert json.loads((ini.parent / "site.json").read_text())["mode"] == "embedded"


def test_folder_that_the_account_closes_does_not_hinder_deactivate(changing):
    machine, change = changing
    inner = "var/data/simplesite/inner"
    machine.run("sh", "-c", f"mkdir {inner} && touch {inner}/file", user="simplesite")
    change(2)
    machine.run("chmod", "000", inner, user="simplesite")

    said = machine.pylonyard("deactivate").splitlines()

    assert said[-1] == "# release 2 is not active any more"
    assert [line for line in said if line.startswith("# chmod: ")] != []
    machine.run("rm", "-r", inner)


KILLER = r"""
import subprocess
p = subprocess.Popen(["bin/pylonyard", "deactivate"], stdout=subprocess.PIPE)
while p.stdout.readline() != b"apache2ctl graceful\n":
    pass
p.kill()
p.wait()
"""


@contextlib.contextmanager
def accounts_kept(machine):
    """Have the account files be what they were before the block."""
    paths = [machine.path(f"/etc/{name}") for name in ("group", "gshadow", "group-", "gshadow-")]
    before = {path: path.read_bytes() for path in paths}
    yield
    for path, content in before.items():
        path.write_bytes(content)


def test_groups_that_others_make_after_a_kill_survive_the_repair(changing):
    machine, change = changing
    with accounts_kept(machine):
        change(2)
        machine.run("python3", "-c", KILLER)
        machine.run("sh", "-ec", "groupadd colleagues; usermod -a -G colleagues games")

        said = change(2).splitlines()

        assert said[0] == "# an activation was interrupted: its steps are undone"
        assert "usermod -a -G simplesite www-data" in said
        assert machine.visit() == "200"
        assert "colleagues" in machine.run("id", "-Gn", "games").stdout.split()
        machine.pylonyard("deactivate")
        assert "colleagues" in machine.run("id", "-Gn", "games").stdout.split()
        assert "simplesite" not in machine.run("id", "-Gn", "www-data").stdout.split()
