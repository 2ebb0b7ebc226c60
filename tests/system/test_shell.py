"""``bin/<site> shell``: the framework's own, with the live configuration."""

import subprocess

import pytest
from interpreters_for_all import need_interpreter

pytestmark = pytest.mark.system


def told_by_shell(site, line: str) -> str:
    finished = subprocess.run(
        ["bin/simplesite", "shell"],
        cwd=site.path,
        env=dict(site.environ),
        input=f"{line}\n",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    return finished.stdout


def test_pyramid_opens_pshell(checkout, free_port):
    site = checkout()
    site.bootstrap(f"site:port={free_port()}")

    output = told_by_shell(site, "print('title:', registry.settings['simplesite.title'])")

    assert "title: SimpleSite" in output


def test_pylons_opens_the_shell_of_paster(checkout, free_port):
    need_interpreter("python2.7")
    site = checkout()
    site.bootstrap("-c", "legacy.cfg", f"site:port={free_port()}")

    output = told_by_shell(site, "print('status: %s' % app.get('/').status)")

    assert "Pylons Interactive Shell" in output
    assert "status: 200" in output
