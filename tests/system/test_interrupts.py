"""Ctrl-C, as a terminal sends it: to all that runs there; each ends with one line."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from checkouts import ROOT
from pylonyard.config.layout import IN_BIN
from pylonyard.environments import tools
from pylonyard.server import cli

pytestmark = pytest.mark.system


@contextlib.contextmanager
def silent_server():
    """Listen on loopback and never answer; give the address, and what waits for a client."""
    came = threading.Event()
    clients = []

    def accept():
        with contextlib.suppress(OSError):
            while True:
                clients.append(listening.accept())
                came.set()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", came
    for client, _ in clients:
        client.close()


def interrupted(words, folder, is_at_work, **variables):
    """Start a program, press Ctrl-C once it is at work; return status, output and errors."""
    environment = {**os.environ, "HOME": str(folder), "BUILDOUT_HOME": str(folder), **variables}
    process = subprocess.Popen(
        words,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert is_at_work(process)
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    return process.returncode, output, errors


def test_buildout_is_interrupted_in_one_line(tmp_path):
    with silent_server() as (address, came):
        (tmp_path / "buildout.cfg").write_text(f"[buildout]\nextends = {address}/base.cfg\n")

        ended = interrupted(
            [ROOT / "bin" / "buildout", "-c", "buildout.cfg"],
            tmp_path,
            lambda process: came.wait(60),
        )

    assert ended == (130, "", "buildout: interrupted\n")


PAUSE = """
import sys, time
class Pause:
    def find_spec(self, name, *_):
        if name == {!r}:
            print("here", flush=True)
            time.sleep(60)
sys.meta_path.insert(0, Pause())
"""
"""Statements that halt a script when it is about to import a module."""


def script_of(program, arguments):
    """Return the text of a script of ours, such as a run writes it."""
    if not arguments:
        return (ROOT / "bin" / program).read_text()
    lines = tools.header_of_ours(Path(sys.executable), tools.ISOLATED, ROOT)
    lines += tools.package_statements(ROOT / "recipes", ROOT, IN_BIN)
    return "\n".join([*lines, *arguments, ""])


SITE = ["from pylonyard.server.cli import main", "sys.exit(main('/none/shop/server.json'))"]
HTTPD = ["from pylonyard.webservers.apache.control import main", "sys.exit(main(None, []))"]


@pytest.mark.parametrize(
    ("program", "arguments", "module"),
    [
        ("buildout", [], "pylonyard"),
        ("buildout", [], "pylonyard.buildout.last_run"),
        ("buildout", [], "zc.buildout"),
        ("pylonyard", [], "pylonyard.commands.main"),
        ("pylonyard", [], "pylonyard.commands.rollback"),
        ("shop", SITE, "pylonyard.server.settings"),
        ("shop", SITE, "pylonyard.system.command_line"),
        ("shop-httpd", HTTPD, "pylonyard.webservers.apache.control"),
    ],
)
def test_early_interrupt_is_one_line(tmp_path, program, arguments, module):
    text, imports = script_of(program, arguments), "import os, sys\nrecipes ="
    assert text.count(imports) == 1
    script = tmp_path / program
    script.write_text(text.replace(imports, PAUSE.format(module) + imports))

    status, output, errors = interrupted(
        ["/bin/sh", script], tmp_path, lambda process: process.stdout.readline() == "here\n"
    )

    lines = [line for line in errors.splitlines() if not line.startswith("Compiling: ")]
    assert (status, output, lines) == (130, "", [f"{program}: interrupted"])


def test_setup_is_interrupted_in_one_line(tmp_path):
    """As ``bin/<site> setup`` has the application's Python run its script."""
    script = tmp_path / "paster"
    script.write_text("import time\nprint('here', flush=True)\ntime.sleep(60)\n")
    words = [sys.executable, "-c", cli.IN_ONE_LINE, "shop", script, "setup-app", "shop.ini"]

    ended = interrupted(words, tmp_path, lambda process: process.stdout.readline() == "here\n")

    assert ended == (130, "", "shop: interrupted\n")


def test_fetch_is_interrupted_in_one_line(tmp_path):
    with silent_server() as (address, came):
        words = [sys.executable, "bootstrap.py", "fetch", "--index", address, "six==1.17.0"]
        command = ["/bin/sh", "-c", 'cd "$0" && exec "$@"', ROOT, *words]

        ended = interrupted(command, tmp_path, lambda process: came.wait(60))

    assert ended == (130, "", "bootstrap: interrupted\n")


def test_bootstrap_is_interrupted_in_one_line(tmp_path):
    for name in ("bootstrap.py", "setup.py"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("recipes", "profiles"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.egg-info"))

    def is_at_work(process):
        line = process.stdout.readline()
        time.sleep(0.5)  # into the making of a virtual environment, that pip is taken from
        return line.startswith("bootstrap: Downloading the tools into ")

    ended = interrupted([sys.executable, "bootstrap.py"], tmp_path, is_at_work)

    assert ended == (130, "", "bootstrap: interrupted\n")
    assert not list((tmp_path / "cache").glob(".draft-*"))


@pytest.mark.parametrize(
    ("program", "words"), [("buildout", ["--help"]), ("buildout", ["--version"])]
)
def test_full_disk_and_closed_pipe_are_no_traceback(program, words):
    command = [ROOT / "bin" / program, *words]
    with open("/dev/full", "w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)

    line = f"{program}: cannot print: No space left on device\n"
    assert (ended.returncode, ended.stderr) == (1, line)

    pipe = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    pipe.stdout.close()
    with pipe:
        assert pipe.stderr.read() == ""
