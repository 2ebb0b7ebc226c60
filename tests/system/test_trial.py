"""What is released has been loaded: an application that cannot be loaded does not go live."""

import os

import pytest

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a private mount"),
]

SETUP = """
from setuptools import setup
setup(name="Hello", version="1.0", py_modules=["hello"],
      entry_points={"paste.app_factory": ["main = hello:main"]})
"""
HELLO = """
import os, socket

def main(global_conf, greeting, **settings):
    with open("loaded", "a") as stream:
        stream.write("%d\\n" % os.getuid())
    if greeting == "by network":
        socket.create_connection(("127.0.0.1", 1))
    if greeting != "Good morning.":
        raise ValueError("expected a greeting, got %r" % greeting)
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [greeting.encode()]
    return application
"""
BUILDOUT = """[buildout]
extends = profiles/base.cfg
[site]
name = hello
eggs = Hello
port = {port}
user = {user}
environment = development
roles = app ini init
[app]
sources = src/hello
[ini]
template = src/hello/hello.ini
"""
INI = "[app:main]\nuse = egg:Hello\ngreeting = {}\n"
HANDLER = """[loggers]
keys = root
[handlers]
keys = mail
[formatters]
keys =
[logger_root]
handlers = mail
[handler_mail]
class = handlers.SMTPHandlr
args = ()
"""


def test_what_cannot_be_loaded_does_not_go_live(public_checkout, free_port):
    site = public_checkout()
    folder = site.path / "src" / "hello"
    folder.mkdir()
    (folder / "setup.py").write_text(SETUP)
    (folder / "hello.py").write_text(HELLO)
    (folder / "hello.ini").write_text(INI.format("Good morning."))
    (site.path / "buildout.cfg").write_text(BUILDOUT.format(port=free_port(), user="nobody"))
    data = site.path / "var" / "data" / "hello"

    site.bootstrap()
    refused = []
    for text in (INI.format("Go away."), INI.format("Good morning.") + HANDLER):
        (folder / "hello.ini").write_text(text)
        ended = site.buildout(check=False)
        assert ended.returncode == 1, ended.stdout
        refused.append(ended.stdout.splitlines()[-1])
    assert os.readlink(site.path / "current") == "releases/1"

    # What needs the network is not tried without it, and the run says so.
    (folder / "hello.ini").write_text(INI.format("by network"))
    told = site.buildout().stdout
    with_network = site.buildout("release:load=network", "site:port=1", check=False).stdout
    without = site.buildout("release:load=false", "site:port=1").stdout

    begin = "Error: [ini] hello/production.ini: refused by its application: "
    assert refused[0].startswith(f"{begin}ValueError: expected a greeting, got 'Go away.' (")
    assert refused[0].endswith("hello.py, line 10)")
    assert refused[1].startswith(f"{begin}ModuleNotFoundError: No module named 'handlers' (")
    assert refused[1].endswith("/current/hello/production.ini)")
    assert "hello was not loaded before it went live: it needs the network" in told
    assert f"{begin}ConnectionRefusedError: " in with_network
    assert "Release 3 is current." in without
    # Nothing of all this wrote to the data of the site.
    assert not [path for path in data.rglob("*") if path.is_file()]
