"""The names of modules that were given up: scripts, servers and records made before use them."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import test_rooms
from pylonyard.environments import tools

RECIPES = str(test_rooms.PACKAGE.parent)

NAMED = {
    "admin": ("commands.main", ["main"]),
    "apache_vhost": ("recipes.apache_vhost", ["ApacheVhost"]),
    "buildout_command": ("buildout.main", ["main"]),
    "cron_restart": ("recipes.cron_restart", ["CronRestart"]),
    "crontab": ("watchers.cron", ["main"]),
    "httpd_control": ("webservers.apache.control", ["Httpd", "main"]),
    "init_script": ("recipes.init_script", ["InitScript"]),
    "mod_wsgi_build": ("recipes.mod_wsgi_build", ["ModWsgiBuild"]),
    "production_ini": ("recipes.production_ini", ["ProductionIni"]),
    "pylons_app": ("recipes.pylons_app", ["PylonsApp"]),
    "release": ("recipes.release", ["Release"]),
    "site": ("recipes.site", ["Site"]),
    "toolbox": ("environments.tools", ["bring", "place"]),
}
"""For each shim its names, and their modules."""

SCRIPTS = {
    "admin": "main('/nowhere', '/nowhere/bin', ['--version'])",
    "buildout_command": "main()",
    "crontab": "main('shop', '/nowhere', ['--help'])",
    "httpd_control": "main(Httpd('shop', '/nowhere', '/nowhere', '/nowhere', 1, None, 'shop'), "
    "['--help'])",
}
"""How scripts call them."""


def test_every_shim_is_tried_here():
    assert {*NAMED, "server.gentle"} == test_rooms.SHIMS


@pytest.mark.parametrize("shim", sorted(NAMED))
def test_shim_has_what_its_module_has(shim):
    module, names = NAMED[shim]
    here, there = (importlib.import_module(f"pylonyard.{name}") for name in (shim, module))

    assert [getattr(here, name) for name in names] == [getattr(there, name) for name in names]


@pytest.mark.parametrize("shim", sorted(SCRIPTS))
def test_script_of_old_runs_without_any_library(shim):
    names = ", ".join(NAMED[shim][1])
    statements = f"import sys; sys.path.insert(0, {RECIPES!r}); sys.argv[1:] = ['--help']\n"
    statements += "from pylonyard import toolbox\n"
    statements += f"from pylonyard.{shim} import {names}\nsys.exit({SCRIPTS[shim]})"
    command = [sys.executable, "-I", "-S", "-c", statements]
    done = subprocess.run(command, capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout


@pytest.mark.parametrize(
    ("old", "new"), [("place", "set_environment"), ("find", "set_folders"), ("bring", "load")]
)
def test_functions_in_scripts_of_old_have_both_names(old, new):
    assert getattr(tools, old) is getattr(tools, new)


def test_server_of_old_is_started_by_the_file_that_its_supervisor_names(tmp_path):
    script = tmp_path / "serve.py"
    script.write_text(
        "import signal, sys\n"
        "print(sys.argv, sys.path[0], __name__, signal.getsignal(signal.SIGINT).__name__)\n"
    )
    gentle = Path(RECIPES, "pylonyard", "server", "gentle.py")
    command = [sys.executable, str(gentle), str(script), "serve"]
    done = subprocess.run(command, capture_output=True, text=True)

    said = f"{[str(script), 'serve']} {tmp_path} __main__ on_interrupt\n"
    assert (done.stdout, done.stderr) == (said, "")
