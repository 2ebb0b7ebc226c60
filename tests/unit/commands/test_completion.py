"""The completion of each shell, by that shell itself: at a terminal, with a Tab."""

import os
import pty
import re
import select
import shutil
import subprocess
import time

import pytest
from pylonyard.commands import completion, main

START = {
    "bash": ["--norc", "--noprofile", "-i"],
    "zsh": ["-f", "-i"],
}
PREPARE = {
    "bash": "PS1='ready> '; bind 'set bell-style none'; source {0}\n",
    "zsh": "PS1='ready> '; autoload -U compinit; compinit -u -D; unsetopt beep; source {0}\n",
}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Write the texts; return where that of a shell is."""
    folder = tmp_path_factory.mktemp("completion")
    for shell in completion.SHELLS:
        text = completion.script(shell, main.parser(), ["shop"])
        (folder / shell).write_text(text)
    (folder / "wheels-of-mine").mkdir()
    return folder


class Terminal:
    """A shell at a terminal of its own."""

    def __init__(self, shell, folder):
        self.ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [shutil.which(shell), *START[shell]],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=folder,
            env={"PATH": os.environ["PATH"], "TERM": "dumb", "HOME": str(folder), "LC_ALL": "C"},
            start_new_session=True,
        )
        os.close(theirs)
        self.shown = ""
        self.type(PREPARE[shell].format(folder / shell))
        self.type("echo pre''pared\n")
        self.await_text("prepared\r\n")

    def type(self, text):
        os.write(self.ours, text.encode())

    def await_text(self, pattern):
        """Return once what came since the last time has a pattern."""
        deadline = time.monotonic() + 20
        while not re.search(pattern, self.shown):
            assert time.monotonic() < deadline, self.shown
            if select.select([self.ours], [], [], 0.5)[0]:
                self.shown += os.read(self.ours, 4096).decode()
        self.shown = ""

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.ours)


def shells(*names):
    """Return the shells as parameters; those that are not here are skipped by name."""
    return [
        pytest.param(
            name, marks=pytest.mark.skipif(not shutil.which(name), reason=f"no {name} here")
        )
        for name in names
    ]


LINES = [
    ("bin/pylonyard rel\t", "bin/pylonyard releases "),
    ("bin/pylonyard releases d\t", "bin/pylonyard releases diff "),
    ("pylonyard rollback --ch\t", "pylonyard rollback --change-environment "),
    ("bin/shop try\t", "bin/shop try-restart "),
    ("bin/shop status --j\t", "bin/shop status --json "),
    ("bin/shop-httpd gr\t", "bin/shop-httpd graceful "),
    ("bin/shop-cron inst\t", "bin/shop-cron install "),
    ("./bootstrap.py fetch --find-l\t", "./bootstrap.py fetch --find-links "),
    ("python3 bootstrap.py te\t", "python3 bootstrap.py test "),
    ("/usr/bin/python3 ./bootstrap.py fetch --lo\t", "python3 ./bootstrap.py fetch --lock "),
    ("bin/buildout --help-\t", "bin/buildout --help-all "),
    ("./bootstrap.py fetch --find-links wheels\t", "./bootstrap.py fetch --find-links wheels-of-"),
    ("bin/buildout -c wheels\t", "bin/buildout -c wheels-of-"),
    ("python3 wheels\t", "python3 wheels-of-"),
]


@pytest.mark.parametrize("shell", shells("bash", "zsh"))
def test_tab_completes_at_a_terminal(source, shell):
    terminal = Terminal(shell, source)
    try:
        for typed, completed in LINES:
            terminal.type(typed)
            terminal.await_text(re.escape(completed))
            terminal.type("\x15")  # the line is taken back
    finally:
        terminal.close()


@pytest.mark.skipif(not shutil.which("fish"), reason="no fish here")
def test_fish_completes_with_the_help_of_each_word(source):
    def completed(line):
        words = ["fish", "--no-config", "-c", f"source {source}/fish; complete -C '{line}'"]
        return subprocess.run(words, capture_output=True, text=True, cwd=source).stdout

    for typed, line in LINES[:-3]:
        word = line.split()[-1]
        assert completed(typed.rstrip("\t")).startswith(f"{word}\t"), typed
    assert completed("bin/shop st").splitlines() == [
        "start\tstart the server; return once it answers",
        "status\tsay whether it runs, and answers",
        "stop\tlet running requests end, and stop it",
    ]
    assert "wheels-of-mine/" in completed("./bootstrap.py fetch --find-links wheels")


@pytest.mark.parametrize("shell", shells(*completion.SHELLS))
def test_text_is_of_the_shell(source, shell):
    assert subprocess.run([shell, "-n", source / shell], capture_output=True).stderr == b""


def test_sites_are_those_of_the_release(tmp_path):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "server.json").touch()
    (tmp_path / "etc").mkdir()

    assert completion.site_names(tmp_path) == ["shop"]
    assert completion.site_names(tmp_path / "none") == []
