"""Find out whether Apache runs, and shorten its messages to one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pylonyard.system.errors import ActivationError
from pylonyard.system.rootfs import Entry, Tree
from pylonyard.webservers.apache import machine
from pylonyard.webservers.apache.machine import Logs, MachineApache


@pytest.mark.parametrize("text", ["", "x", "1", "999999999", "{us}"])
def test_process_that_is_no_apache_of_the_tree_is_not_taken_for_it(tmp_path, text):
    (tmp_path / "etc/apache2").mkdir(parents=True)
    (tmp_path / "pid").write_text(text.format(us=os.getpid()))
    (tmp_path / "etc/apache2/envvars").write_text(f"export APACHE_PID_FILE={tmp_path}/pid\n")
    apache = MachineApache(Tree(tmp_path))

    assert apache.environment["APACHE_PID_FILE"] == f"{tmp_path}/pid"
    assert apache.pid is None
    apache.stop()


def test_bytes_of_envvars_that_are_no_text_are_passed_on(tmp_path):
    (tmp_path / "etc/apache2").mkdir(parents=True)
    settings = b"export APACHE_PID_FILE=%s/pid ORDER='caf\xe9'\n" % os.fsencode(tmp_path)
    (tmp_path / "etc/apache2/envvars").write_bytes(settings)
    ours = os.fspath(tmp_path / "etc/apache2")
    running = ["apache2", "-c", "import time; time.sleep(60)", ours]

    with subprocess.Popen(running, executable=sys.executable) as process:
        (tmp_path / "pid").write_text(f"{process.pid}\n")
        apache = MachineApache(Tree(tmp_path))
        found = apache.pid
        process.kill()

    assert found == process.pid
    assert os.fsencode(apache.environment["ORDER"]) == b"caf\xe9"


def test_apache_that_ends_at_its_start_is_no_success(tmp_path):
    (tmp_path / "etc/apache2").mkdir(parents=True)
    (tmp_path / "apache2").symlink_to("/bin/true")
    settings = f"export APACHE_PID_FILE={tmp_path}/pid PATH={tmp_path}:$PATH\n"
    (tmp_path / "etc/apache2/envvars").write_text(settings)

    with pytest.raises(ActivationError) as caught:
        MachineApache(Tree(tmp_path), start_patience=0.1).reload()

    assert str(caught.value) == "Apache does not run 0.1 s after it was started"


def test_logs_are_where_envvars_says(tmp_path):
    (tmp_path / "etc/apache2").mkdir(parents=True)
    (tmp_path / "etc/apache2/envvars").write_text("export APACHE_LOG_DIR=/srv/log\n")
    apache = MachineApache(Tree(tmp_path))

    assert os.fspath(apache.error_log) == "/srv/log/error.log"
    assert os.fspath(apache.site_log("shop")) == "/srv/log/shop-error.log"


def test_last_complaint_since_then_is_reported(tmp_path):
    log = tmp_path / "error.log"
    log.write_text("[Sun] [core:error] [pid 1] old\n")
    logs = Logs.now([log, tmp_path / "none.log"])
    assert logs.message() == ""

    with log.open("a") as stream:
        stream.write("[Sun] [core:notice] [pid 1] fine\n[Sun] [core:error] [pid 1] it is broken\n")

    assert logs.message().endswith("it is broken")


@pytest.mark.parametrize(
    "cause",
    [
        "PermissionError: [Errno 13] Permission denied: '/srv/shop/var/data/shop.db'",
        "(13)Permission denied: mod_wsgi (pid=7): Unable to stat Python home /srv/shop",
        "sqlalchemy.exc.OperationalError: unable to open database file",
        "ModuleNotFoundError: No module named 'shop'",
    ],
)
def test_cause_of_a_failure_is_reported_instead_of_a_timeout(tmp_path, cause):
    log = tmp_path / "error.log"
    logs = Logs.now([log])
    lines = ["mod_wsgi: Exception occurred within WSGI script", cause, "Timeout (WSGI0025): shop"]
    log.write_text("".join(f"[Sun] [wsgi:error] [pid 1:tid 2] {line}\n" for line in lines))

    assert logs.message() == cause


def test_configuration_is_sound_before_apache_ever_ran(monkeypatch, tmp_path):
    """``/run`` is empty after a boot; Apache's first start makes its folder there."""
    seen = []

    def run(command, what, *, environment, **more):
        seen.append(environment["APACHE_RUN_DIR"])
        assert os.path.isdir(seen[-1])

    monkeypatch.setattr(machine, "run", run)
    apache = MachineApache(Tree(Path("/")))
    for folder in (tmp_path / "none", tmp_path):
        apache.__dict__["environment"] = {"APACHE_RUN_DIR": str(folder)}
        apache.test()

    assert seen[1] == str(tmp_path)
    assert seen[0] != str(tmp_path / "none")
    assert not os.path.exists(seen[0])


def test_modules_bring_those_that_they_need(tmp_path):
    tree = Tree(tmp_path)
    for name, text in {
        "ssl": "# Depends: setenvif mime\nLoadModule ssl_module mod_ssl.so\n",
        "mime": "# Depends: ssl\n",
        "setenvif": "LoadModule setenvif_module mod_setenvif.so\n",
    }.items():
        path = f"/etc/apache2/mods-available/{name}.load"
        tree.put(path, Entry("file", 0o644, content=text.encode()))

    found = MachineApache(tree).implied_names(("a2enmod", "proxy", "ssl"))

    assert found == ("setenvif", "mime")


@pytest.mark.parametrize("plant", [os.mkfifo, os.mkdir, lambda path: os.symlink("/etc", path)])
def test_log_that_is_no_file_has_no_complaints(tmp_path, plant):
    plant(tmp_path / "error.log")

    assert machine.complaints(tmp_path / "error.log") == []
