"""The default site's own tests, in a sandbox made for them."""

import pytest

pytestmark = pytest.mark.system

CONFIG = """
[buildout]
extends = buildout.cfg
allow-picked-versions = false

[app]
lock =
eggs +=
    pytest
    WebTest

[ini]
setup = false

[versions]
beautifulsoup4 = 4.14.3
iniconfig = 2.3.1
pluggy = 1.7.0
Pygments = 2.21.0
pytest = 9.2.0
soupsieve = 2.8.1
WebTest = 3.0.7
"""


def test_its_own_tests_pass(checkout):
    site = checkout()
    (site.path / "tested.cfg").write_text(CONFIG)
    site.bootstrap("-c", "tested.cfg")

    output = site.run(
        "sh", "-c", "cd src/simplesite && ../../current/simplesite/bin/python -m pytest -q"
    ).stdout

    assert " passed" in output.splitlines()[-1]
    assert "skipped" not in output
