"""Bad configurations: each is refused in one line, which tells the place."""

import os
import socket
import threading
import time

import pytest
from pylonyard.buildout import driver
from support import make_wheel, reset_buildout, serve_folder
from zc.buildout import UserError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The folder that a run is in, and zc.buildout as it is mended."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    with reset_buildout():
        driver.prepare()
        yield folder


def refused(files, *given, file="buildout.cfg"):
    """Return the line that refuses a run with these files, and options of the command line."""
    for name, text in files.items():
        content = text if isinstance(text, bytes) else text.encode()
        os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
        with open(name, "wb") as stream:
            stream.write(content)
    with pytest.raises(UserError) as raised:
        driver.Buildout(os.path.abspath(file), list(given), False).install([])
    return str(raised.value)


HEAD = "[buildout]\nparts = a\n"
NONE = "[buildout]\nparts =\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "[buildout]\nparts =\nextends =\n    profile/base.cfg\n",
            "buildout.cfg, line 4: extends: cannot extend profile/base.cfg: No such file or "
            "directory; did you mean profiles/base.cfg?",
        ),
        (
            "[buildout]\nextends = profiles\n",
            "buildout.cfg, line 2: extends: cannot extend profiles: Is a directory",
        ),
        (
            "[buildout]\nextends = profiles/round.cfg\n",
            "profiles/round.cfg, line 2: extends: cannot extend ../buildout.cfg: it extends that "
            "file in turn",
        ),
        (
            f"{NONE}[ini\nfoo = 1\n",
            "buildout.cfg, line 3: expected [section], got '[ini', which has no closing bracket",
        ),
        (
            f"{NONE}[a]\nfoo = 1\nbar = 2\nfoo = 3\n",
            "buildout.cfg, line 6: [a] foo: set in line 4 already; keep one of them",
        ),
        (
            f"{NONE}[a]\nfoo = 1\nbar =\n    2\nfoo =\n    3\n",
            "buildout.cfg, line 7: [a] foo: set in line 4 already; keep one of them",
        ),
        (
            "[buildout]\nextends = profiles/base.cfg\n[sites]\nport = 8081\n",
            "buildout.cfg, line 3: [sites]: unknown; did you mean site?",
        ),
        (
            f"{NONE}[buildotu]\nnewest = false\n",
            "buildout.cfg, line 3: [buildotu]: unknown; did you mean buildout?",
        ),
        (
            f"{NONE}eggs-directry = x\n",
            "buildout.cfg, line 3: [buildout] eggs-directry: unknown; did you mean eggs-directory?",
        ),
        (
            "foo = 1\n",
            "buildout.cfg, line 1: expected [section] or option = value, got 'foo = 1'",
        ),
        (
            f"{NONE}only words\n",
            "buildout.cfg, line 3: expected [section] or option = value, got 'only words'",
        ),
        (
            f"{NONE}[a:x y]\nb = 1\n",
            "buildout.cfg, line 3: [a:x y]: expected a condition, got SyntaxError: invalid "
            "syntax. Perhaps you forgot a comma? (<string>, line 1)",
        ),
        (
            NONE.encode() + b"# caf\xe9\n",
            "buildout.cfg, line 3: expected UTF-8, got the byte 0xe9; save the file as UTF-8",
        ),
        (
            f"{HEAD}[a]\nx = ${{b:y}}\n[b]\ny = ${{a:x}}\n",
            "buildout.cfg, line 6: [b] y: Circular reference in substitutions.",
        ),
        (
            f"{HEAD}[a]\nx = ${{b:porst}}\n[b]\nport = 1\n",
            "buildout.cfg, line 4: [a] x: there is no option porst in [b]; did you mean port?",
        ),
        (
            f"{HEAD}[a]\nx = ${{sits:port}}\n[site]\nport = 1\n",
            "buildout.cfg, line 4: [a] x: there is no section [sits]; did you mean site?",
        ),
        (
            f"{HEAD}[a]\nx = ${{port}}\n",
            "buildout.cfg, line 4: [a] x: The substitution, ${port}, doesn't contain a colon.",
        ),
        (
            "[buildout]\nparts = shopp\n[shop]\nx = ${shopp:y}\n",
            "buildout.cfg, line 2: [buildout] parts: there is no section [shopp]; did you mean "
            "shop?",
        ),
        (f"{HEAD}[a]\nx = 1\n", "buildout.cfg, line 3: [a]: recipe: required, but missing"),
        (f"{HEAD}[a]\n<= macro\n", "buildout.cfg, line 3: [a]: No section named 'macro'"),
        (f"{HEAD}[a]\n<= a\n", "buildout.cfg, line 3: [a]: Infinite extending loop 'a'"),
        (
            f"{HEAD}[a]\nrecipe = pylonyard:nosuch\n",
            "buildout.cfg, line 4: [a] recipe: cannot load it: Entry point ('zc.buildout', "
            "'nosuch') not found",
        ),
        (
            f"{NONE}newest = yes\n",
            "buildout.cfg, line 3: [buildout] newest: expected true or false, got 'yes'",
        ),
        (
            f"{NONE}verbosity = much\n",
            "buildout.cfg, line 3: [buildout] verbosity: expected a number, got 'much'",
        ),
        (
            f"{NONE}log-level = LOUD\n",
            "buildout.cfg, line 3: [buildout] log-level: expected DEBUG, INFO, WARNING, ERROR or "
            "CRITICAL, got 'LOUD'",
        ),
        (
            f"{NONE}versions = pin\n[pins]\n",
            "buildout.cfg, line 3: [buildout] versions: there is no section [pin]; did you mean "
            "pins?",
        ),
    ],
)
def test_bad_configuration_is_one_line(text, line):
    base = "[buildout]\nparts =\n[site]\nrecipe = pylonyard:site\n"
    files = {"profiles/base.cfg": base}
    files["profiles/round.cfg"] = "[buildout]\nextends = ../buildout.cfg\n"

    assert refused({**files, "buildout.cfg": text}) == line


def test_option_of_the_command_line_has_to_have_a_section():
    files = {"buildout.cfg": f"{NONE}[site]\nrecipe = pylonyard:site\n"}

    line = "sites:port=8081: there is no section [sites]; did you mean site:port?"
    assert refused(files, ("sites", "port", "8081")) == line
    line = "other:port=8081: there is no section [other]"
    assert refused(files, ("other", "port", "8081")) == line


def test_configuration_that_is_not_there_is_reported(folder):
    line = f"there is no configuration {folder}/prodction.cfg; did you mean production.cfg?"
    assert refused({"production.cfg": NONE}, file="prodction.cfg") == line
    line = f"cannot read the configuration {folder}: Is a directory"
    assert refused({}, file=".") == line


def test_configuration_that_cannot_be_read_is_reported(folder):
    (folder / "base.cfg").mkdir()  # Nor can root read that.

    line = "buildout.cfg, line 2: extends: cannot extend base.cfg: Is a directory"
    assert refused({"buildout.cfg": "[buildout]\nextends = base.cfg\n"}) == line


@pytest.mark.parametrize(
    "text",
    [
        "[helper]\nport = 1\n[other]\nrecipe = x\nvalue = ${helpers:port}\n[helpers]\nport = 2\n",
        "[a]\nfoo = 1\nfoo += 2\n",
        "[a]\nfoo = 1\n[a:python3]\nfoo = 2\n",
        "[a]\nfoo = 1\nfoo = 1\n",
        "[a]\nfoo = 1\n[b]\n[a]\nfoo = 2\n",
        "[buildout]\neggs-drectory = x\n[a]\nfoo = ${buildout:eggs-drectory}\n",
    ],
    ids=["mentioned", "added", "conditional", "same", "again", "own"],
)
def test_option_that_makes_sense_is_left_alone(folder, text):
    (folder / "buildout.cfg").write_text(NONE + text)

    driver.Buildout(os.path.abspath("buildout.cfg"), [], False)


def test_section_that_begins_anew_and_overrules_is_warned_of(folder, caplog):
    (folder / "buildout.cfg").write_text(f"{NONE}[a]\nfoo = 1\nbar = 2\n[b]\n[a]\nfoo = 3\n")

    driver.Buildout(os.path.abspath("buildout.cfg"), [], False)

    assert [record.message for record in caplog.records] == [
        "buildout.cfg, line 8: [a] foo: set in line 4 already, and the last one counts; better "
        "keep one of them."
    ]


@pytest.fixture
def index(tmp_path):
    """An index whose page of all projects never ends; give its address, and what was asked."""
    pages = tmp_path / "index" / "shop"
    pages.mkdir(parents=True)
    wheel = make_wheel(pages, "Shop", "1.0")
    (pages / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
    with serve_folder(tmp_path / "index") as address:
        yield address


EGGS = """
[buildout]
parts = app
index = {index}
eggs-directory = eggs
download-cache = cache
[versions]
SimpleSite = 0.3.0
[app]
recipe = pylonyard:pylons_app
name = shop
eggs = {eggs}
"""


class Endless:
    """An index on loopback that has no project, and never ends to tell of all."""

    def __init__(self):
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.listening.getsockname()[1]}/simple/"
        self.asked = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client, _ = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=self.answer, args=[client], daemon=True).start()

    def answer(self, client):
        with client:
            path = client.recv(4096).split()[1].decode()
            self.asked.append(path)
            if path != "/simple/":
                client.sendall(b"HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                return
            client.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n")
            time.sleep(60)


def test_misspelt_name_is_refused_by_its_own_page_alone(folder):
    endless = Endless()
    began = time.monotonic()

    with endless.listening:
        line = refused({"buildout.cfg": EGGS.format(index=endless.address, eggs="SimpelSite")})

    assert line == (
        f"[app] eggs: cannot get SimpelSite: it is not in {folder}/cache/dist, nor is there a "
        f"page of it in the index {endless.address}; did you mean simplesite?"
    )
    assert set(endless.asked) == {"/simple/simpelsite/"}
    assert time.monotonic() - began < 10  # it is a second, on a machine with nothing else to do


def test_missing_version_is_reported_with_the_existing_ones(index):
    line = refused({"buildout.cfg": EGGS.format(index=index, eggs="Shop > 2")})

    assert line == "[app] eggs: cannot get Shop>2: there is only Shop 1.0"


def test_misspelt_recipe_is_refused_as_fast(folder):
    endless = Endless()
    text = EGGS.format(index=endless.address, eggs="Shop").replace("pylonyard:pylons_app", "shpo")

    with endless.listening:
        line = refused({"buildout.cfg": text})

    assert line == (
        f"buildout.cfg, line 9: [app]: cannot get shpo: it is not in {folder}/cache/dist, nor is "
        f"there a page of it in the index {endless.address}"
    )
    assert set(endless.asked) == {"/simple/shpo/"}
