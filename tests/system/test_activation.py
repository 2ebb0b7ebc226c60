"""The current release laid over a scratch machine by Debian's own tools, and undone."""

import http.client
import json
import os
import shutil
import subprocess
import time

import machines
import pytest
from machines import Machine, released
from ports import free_port
from pylonyard.system.active_note import folder_of
from series import select_cases

pytestmark = machines.NEEDED

VHOST = "/etc/apache2/sites-available/simplesite.conf"
CRON = "/etc/cron.d/simplesite"
ACCOUNT = "site:user=www-data"


@pytest.fixture(scope="module")
def site(public_folder, clean_environ):
    environ = {**clean_environ, "BUILDOUT_HOME": str(public_folder / "home")}
    with released(public_folder / "activation", environ, ACCOUNT) as made:
        yield made


@pytest.fixture
def machine(site, tmp_path):
    checkout, port = site
    root = tmp_path / "root"
    made = Machine(root, checkout, free_port(), port)
    yield made
    made.run("bin/simplesite", "stop")
    made.end()


@pytest.fixture
def serving(machine):
    """The machine, with its Apache and the site's own server running."""
    assert machine.run("bin/simplesite", "start").returncode == 0
    machine.httpd("start")
    return machine


def visit(machine):
    connection = http.client.HTTPConnection("127.0.0.1", machine.site_port, timeout=10)
    try:
        connection.request("GET", "/", headers={"Host": "staging.example.org"})
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


def test_site_is_served_then_all_is_as_before(serving):
    before = serving.snapshot()
    address = f"http://staging.example.org:{serving.site_port}/"

    said = serving.activate()

    assert visit(serving) == 200
    assert said.splitlines()[-3] == "# release 1 is active now"
    output = f"# simplesite: answers 200 as {address}, but the name "
    assert said.splitlines()[-2].startswith(output)
    assert said.splitlines()[-1].endswith(f"127.0.0.1 {address}")
    assert serving.path("/etc/apache2/sites-enabled/simplesite.conf").is_symlink()
    assert serving.path("/etc/rc2.d/S01simplesite").is_symlink()
    for name, mode in ((VHOST, 0o644), (CRON, 0o644), ("/etc/init.d/simplesite", 0o755)):
        status = serving.path(name).lstat()
        assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (mode, 0, 0)

    serving.deactivate()

    assert serving.snapshot() == before
    assert visit(serving) is None


def test_second_activation_changes_nothing(serving):
    serving.activate()
    after = serving.snapshot()

    said = serving.activate()

    assert said.startswith("# release 1 is active; there is nothing to do\n# simplesite: ")

    assert serving.snapshot() == after


def test_dry_run_states_the_same_steps_and_takes_none(serving):
    before = serving.snapshot()

    output = serving.pylonyard("activate", "--dry-run").stdout

    assert serving.snapshot() == before
    steps = commands(output)
    assert steps == commands(serving.activate())
    assert "a2ensite simplesite" in steps
    assert "update-rc.d simplesite defaults" in steps
    assert "apache2ctl configtest" in steps


def commands(said):
    """Return the steps, without notes, and without how long one takes on a slow machine."""
    return [x for x in said.splitlines() if not x.startswith(("#", "Running ", "pylonyard: "))]


def test_activation_mends_only_the_files_that_are_missing(serving):
    serving.activate()
    serving.a2("a2dissite", "simplesite")

    steps = commands(serving.activate())

    assert [s.split()[0] for s in steps] == ["a2ensite", "apache2ctl", "apache2ctl", "curl"]


def test_edited_file_is_never_lost(machine):
    machine.activate()
    vhost = machine.path(VHOST)
    ours = vhost.read_text()
    vhost.write_text("# mine\n" + ours)

    said = machine.activate()

    assert f"# {VHOST}: edited here, and left so (--force-new replaces it)" in said
    assert vhost.read_text() == "# mine\n" + ours

    old = f"{VHOST}.pylonyard-old.disabled"
    assert f"# {VHOST}: edited here; yours is kept as {old}" in machine.activate("--force-new")
    assert vhost.read_text() == ours
    assert machine.path(old).read_text() == "# mine\n" + ours


def test_file_of_somebody_else_keeps_its_place(machine):
    machine.path(CRON).write_text("# somebody's own\n")

    said = machine.activate()

    assert f"# {CRON}: edited here, and left so; ours is {CRON}.pylonyard-new.disabled" in said
    assert machine.path(CRON).read_text() == "# somebody's own\n"
    assert "simplesite ensure" in machine.path(f"{CRON}.pylonyard-new.disabled").read_text()


def test_edited_file_is_kept_by_deactivate(machine):
    before = machine.snapshot()
    machine.activate()
    machine.path(CRON).write_text("# mine\n")

    machine.deactivate()

    old = machine.path(f"{CRON}.pylonyard-old.disabled")
    assert old.read_text() == "# mine\n"
    old.unlink()
    assert machine.snapshot() == before


def test_bad_configuration_is_put_back_before_the_reload(serving):
    available = serving.path("/etc/apache2/sites-available/broken.conf")
    available.write_text("NoSuchDirective on\n")
    serving.path("/etc/apache2/sites-enabled/broken.conf").symlink_to(
        "../sites-available/broken.conf"
    )
    before = serving.snapshot()

    finished = serving.pylonyard("activate")

    assert finished.returncode == 1
    last = finished.stdout.splitlines()[-1]
    assert last.startswith("pylonyard: apache2ctl configtest: AH00526: Syntax error on line 1")
    assert "Invalid command 'NoSuchDirective'" in last
    assert last.endswith("; all is as it was before")
    assert serving.snapshot() == before


def test_failed_first_request_is_put_back(serving):
    serving.run("bin/simplesite", "stop")
    before = serving.snapshot()

    finished = serving.pylonyard("activate")

    assert finished.returncode == 1
    last = finished.stdout.splitlines()[-1]
    assert "answers 503" in last
    assert "AH01114: HTTP: failed to make connection to backend: 127.0.0.1" in last
    assert serving.snapshot() == before
    assert visit(serving) is None


@pytest.mark.parametrize("steps", select_cases([1, 8, 12], [1, 4, 6, 8, 10, 11, 12]))
def test_killed_activation_is_undone_by_deactivate(serving, steps):
    before = serving.snapshot()
    command = ["bin/pylonyard", "activate", "--root", str(serving.root)]
    killer = "import subprocess, sys; p = subprocess.Popen(sys.argv[2:], stdout=subprocess.PIPE)\n"
    killer += "[p.stdout.readline() for _ in range(int(sys.argv[1]))]; p.kill(); p.wait()"
    words = [*serving.enter, "python3", "-c", killer, str(steps), *command]
    subprocess.run(words, check=True, timeout=60)
    assert serving.snapshot() != before

    said = serving.deactivate()

    assert said.startswith("# an activation was interrupted: its steps are undone\n")
    assert serving.snapshot() == before
    serving.activate()
    assert visit(serving) == 200


@pytest.mark.parametrize("steps", select_cases([6], [1, 6, 10]))
def test_interrupted_activation_is_undone_at_once(serving, steps):
    before = serving.snapshot()
    command = ["bin/pylonyard", "activate", "--root", str(serving.root)]
    program = "import subprocess, sys; p = subprocess.Popen(sys.argv[2:], stdout=subprocess.PIPE)\n"
    program += "[p.stdout.readline() for _ in range(int(sys.argv[1]))]; p.send_signal(2)\n"
    program += "print(p.communicate()[0].decode(), p.returncode)"
    words = [*serving.enter, "python3", "-c", program, str(steps), *command]

    said = subprocess.run(words, check=True, timeout=60, capture_output=True, text=True).stdout

    assert "# interrupted: its steps are undone\n" in said
    assert said.endswith(" 130\n")
    assert serving.snapshot() == before
    assert visit(serving) is None


KILLED_BETWEEN = """
import os, subprocess, sys
journal, *command = sys.argv[1:]
os.nice(-10)
activation = subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=lambda: os.nice(10))
while activation.poll() is None:
    try:
        with open(journal, "rb") as stream:
            if b'"release": 1,' in stream.read():
                break
    except FileNotFoundError:
        pass
activation.kill()
activation.wait()
"""


def test_kill_between_the_journal_and_the_note_of_it_is_mended(machine):
    before = machine.snapshot()
    folder = machine.path(folder_of(machine.checkout.path))
    command = ["bin/pylonyard", "activate", "--root", machine.root]

    def noted():
        return json.loads((folder / "note.json").read_text())

    for _ in range(20):
        machine.run("python3", "-c", KILLED_BETWEEN, folder / "journal.json", *command)
        if noted()["unfinished"]:
            break
        machine.deactivate()
    assert json.loads((folder / "journal.json").read_text())["release"] == 1
    assert (noted()["release"], noted()["unfinished"]) == (None, True)

    machine.activate()

    assert (noted()["release"], noted()["unfinished"]) == (1, False)
    machine.deactivate()
    assert machine.snapshot() == before


def test_link_planted_in_the_target_is_not_followed(machine, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    machine.path("/etc/cron.d").rmdir()
    machine.path("/etc/cron.d").symlink_to(elsewhere)

    finished = machine.pylonyard("activate")

    assert finished.returncode == 1
    assert finished.stdout.splitlines()[-1] == (
        f"pylonyard: {machine.path('/etc/cron.d')}: expected a folder, got a link; "
        "root does not write through links. Replace it by a folder of root's and bind-mount "
        "the target there"
    )
    assert list(elsewhere.iterdir()) == []


def test_link_planted_for_a_file_is_left_alone(machine, tmp_path):
    target = tmp_path / "target"
    target.write_text("precious")
    machine.path(CRON).symlink_to(target)

    machine.activate()

    assert target.read_text() == "precious"
    assert machine.path(CRON).is_symlink()


@pytest.fixture
def release(site):
    """The release's folder, a copy of which is put back after the test."""
    folder = site[0].path / "releases" / "1"
    kept = site[0].path / "kept"
    subprocess.run(["cp", "-a", folder, kept], check=True)
    yield folder
    shutil.rmtree(folder)
    kept.rename(folder)


def test_altered_release_is_refused(machine, release):
    (release / "etc/cron.d/simplesite").write_text("* * * * * root id\n")
    before = machine.snapshot()

    finished = machine.pylonyard("activate")

    assert (finished.returncode, finished.stdout) == (
        1,
        f"pylonyard: {release}/etc/cron.d/simplesite: expected the content in its manifest, "
        "got another; run bin/buildout for a new release\n",
    )
    assert machine.snapshot() == before


@pytest.mark.parametrize("name", ["manifest.json", "etc/init.d/simplesite", "etc/init.d", "."])
def test_release_that_others_can_alter_is_refused(machine, release, name):
    os.chown(release / name, 65534, -1)
    place = (release / name).resolve()

    finished = machine.pylonyard("activate")

    assert (finished.returncode, finished.stdout) == (
        1,
        f"pylonyard: {place}: its owner nobody could change what root uses; "
        "serve from a checkout of root's, below /srv: docs/on-a-real-server.rst\n",
    )


def test_link_in_the_release_is_refused(machine, release, tmp_path):
    cron = release / "etc/cron.d/simplesite"
    shutil.copy(cron, tmp_path / "other")
    cron.unlink()
    cron.symlink_to(tmp_path / "other")

    finished = machine.pylonyard("activate")

    assert finished.stdout == f"pylonyard: {cron}: expected a regular file; run bin/buildout\n"


@pytest.fixture
def second(machine):
    """Another release, of which the cron entry and the virtual host differ."""
    path = machine.checkout.path
    words = ["-c", "staging.cfg", "vhost:listen=127.0.0.1", "cron:schedule=*/5 * * * *"]
    server = json.loads((path / "releases/1/simplesite/server.json").read_text())
    words += [f"vhost:listen-port={machine.site_port}", f"site:port={server['port']}"]
    words += [ACCOUNT]
    machine.checkout.buildout(*words, "vhost:timeout=61")
    yield 2
    shutil.rmtree(path / "releases" / "2")
    link = path / "current"
    link.unlink()
    link.symlink_to("releases/1")


def test_rollback_takes_everything_back(serving, request):
    serving.activate()
    request.getfixturevalue("second")
    serving.activate()
    assert "*/5" in serving.path(CRON).read_text()

    began = time.monotonic()
    finished = serving.pylonyard("rollback")
    took = time.monotonic() - began

    assert finished.returncode == 0, finished.stdout
    assert "Release 1 is current, and active." in finished.stdout
    assert "*/2" in serving.path(CRON).read_text()
    assert "Timeout 60" in serving.path(VHOST).read_text()
    assert visit(serving) == 200
    print(f"rollback, reload and restart took {took:.2f} s")
    listed = serving.pylonyard("releases").stdout.splitlines()
    assert listed[0].startswith("*    1  ")
    assert listed[0].endswith("current, active")
    assert ["staging" in line for line in listed] == [True, True]
    noted = json.loads(next(serving.path("/var/lib/pylonyard").glob("*/note.json")).read_text())
    assert (noted["release"], noted["configuration"]) == (1, "staging.cfg")
    assert [each["release"] for each in noted["history"]] == [1, 2, 1]
    # The virtual host, the server's timeout, which follows it, and the crontab.
    assert " 3 changed: " in listed[1]


def test_rollback_itself_takes_a_moment(machine, second):
    """Without a server to restart and an Apache to reload, whose time is their own."""
    machine.activate()

    began = time.monotonic()
    finished = machine.pylonyard("rollback", "1")
    took = time.monotonic() - began

    assert finished.returncode == 0, finished.stdout
    print(f"rollback alone took {took:.2f} s")
    assert took < 3  # on a quiet machine less than one


def test_difference_of_releases_masks_secrets(serving, second):
    path = serving.checkout.path
    ini = path / "releases/2/simplesite/production.ini"
    text = ini.read_text()
    (secret,) = [p.read_text() for p in (path / "var/secrets").rglob("editor-password")]
    assert secret in text
    ini.write_text(text.replace(secret, "another-secret").replace("threads = 4", "threads = 9"))
    manifest = path / "releases/2/manifest.json"
    manifest.write_text(manifest.read_text().replace('"0640"', '"0641"', 1))

    said = serving.run("bin/pylonyard", "releases", "diff", "1", "2").stdout

    assert "another-secret" not in said
    assert secret not in said
    assert "+threads = 9" in said
    assert "-*/2 * * * *" in said


@pytest.fixture
def public_machine(site, public_folder):
    """A machine whose folders other accounts than root can pass."""
    made = Machine(public_folder / "root", site[0], free_port(), site[1])
    yield made
    made.end()


def test_group_membership_and_modes_are_given_and_taken(public_machine, release, public_folder):
    """mod_wsgi's needs, with the real usermod on the scratch machine's accounts."""
    machine = public_machine
    described = release / "simplesite/site.json"
    server = json.loads((release / "simplesite/server.json").read_text())
    data = public_folder / "data"
    server.update(user="nobody", data=str(data))
    site = {**json.loads(described.read_text()), "mode": "embedded"}
    described.write_text(json.dumps(site))
    (release / "simplesite/server.json").write_text(json.dumps(server))
    _sign(release, "simplesite/site.json", "simplesite/server.json")
    inner = machine.path(str(data))
    inner.parent.mkdir(parents=True)
    inner.mkdir(mode=0o750)
    os.chown(inner, 65534, 65534)
    before = machine.snapshot()

    machine.activate()

    assert "nogroup:x:65534:www-data\n" in machine.path("/etc/group").read_text()
    assert inner.stat().st_mode & 0o7777 == 0o2770
    assert (inner / "egg-cache").stat().st_mode & 0o7777 == 0o2770
    assert not machine.path(CRON).exists()

    machine.deactivate()

    assert machine.snapshot() == before
    assert inner.stat().st_mode & 0o7777 == 0o750
    assert list(inner.iterdir()) == []


def _sign(release, *names):
    import hashlib

    manifest = release / "manifest.json"
    content = json.loads(manifest.read_text())
    for name in names:
        digest = hashlib.sha256((release / name).read_bytes()).hexdigest()
        content["files"][name]["sha256"] = digest
    manifest.write_text(json.dumps(content))


def test_two_at_once_do_not_mix(machine):
    folder = machine.path("/var/lib/pylonyard")
    folder.mkdir()
    holder = subprocess.Popen(["flock", str(folder), "sleep", "30"])
    try:
        while subprocess.run(["flock", "-n", str(folder), "true"]).returncode == 0:
            time.sleep(0.01)

        finished = machine.pylonyard("activate")
    finally:
        holder.kill()
        holder.wait()

    assert finished.stdout == (
        "pylonyard: another activation is at work on this machine; wait until it has finished\n"
    )
