"""Another web server beside Apache: the registry finds it, and distinguishes the two."""

import json
import os
import sys
import types
from pathlib import Path
from types import MappingProxyType

import pytest
from pylonyard.activation import journal as journals
from pylonyard.activation import steps
from pylonyard.activation.activate import Activation
from pylonyard.activation.apply import StepRunner
from pylonyard.activation.host.facts import World
from pylonyard.activation.journal import Journal
from pylonyard.activation.plan import plan
from pylonyard.activation.steps import Lay, Reload, Tool
from pylonyard.commands.doctor import webserver
from pylonyard.releases import contents
from pylonyard.releases.contents import Release, Site, Source
from pylonyard.releases.store import Releases
from pylonyard.system.errors import ActivationError
from pylonyard.system.rootfs import ABSENT, Account, Entry, Tree
from pylonyard.webservers import registry
from pylonyard.webservers.registry import Command, ServerState, WebServer

from tests.unit.commands.doctor.test_command_checks import place, subject

__all__ = ["place"]  # a fixture

RELEASE = Path("/srv/shop/releases/3")


class Strange(WebServer):
    def enable(self, site):
        link = self.link(site)
        return Command(("ln", "-s", f"../sites-available/{site}.conf", link), (self.enabled,))

    def disable(self, site):
        return Command(("rm", self.link(site)), (self.enabled,))

    def serves_by(self, content, name):
        return f"for {name}".encode() in content


SERVER = Strange(
    name="strange",
    title="Strange",
    program="stranged",
    package="strange-core",
    service="strange",
    folder="/etc/strange",
    test="stranged -t",
    graceful="service strange reload",
    hosts="stranged -T",
)


class Machine:
    """One that runs, and notes what it is told; ``refuses`` is what it says of a test."""

    asked = None
    refuses = ""
    pid = 7
    account = "strange"
    tools = MappingProxyType({"STRANGE_ROOT": "/elsewhere"})

    def __init__(self, tree):
        self.tree = tree

    def state(self):
        return ServerState(user="strange", is_running=True)

    def implied_names(self, words):
        return ()

    def test(self):
        self.asked.append("test")
        if self.refuses:
            raise ActivationError(self.refuses)

    def expect_names(self, names):
        self.asked += [f"{one.name} is new: {one.is_new}" for one in names]

    def reload(self):
        self.asked.append("reload")


@pytest.fixture(autouse=True)
def strange(monkeypatch):
    """Have the web server known, as by a folder of its name; return its machine."""
    made = type("Machine", (Machine,), {"asked": []})
    name = f"{registry.__package__}.strange"
    monkeypatch.setitem(sys.modules, name, types.SimpleNamespace(SERVER=SERVER))
    monkeypatch.setitem(sys.modules, f"{name}.machine", types.SimpleNamespace(Machine=made))
    monkeypatch.setattr(registry, "NAMES", (*registry.NAMES, "strange"))
    registry.server.cache_clear()
    yield made
    registry.server.cache_clear()


def site(name="shop", **more):
    values = {"user": "shop", "data": RELEASE, "live": RELEASE / name, "log": RELEASE, "port": 8080}
    values |= {"mode": "proxy", "server_name": f"{name}.example.org", "server": "strange"}
    return Site(name=name, **{**values, **more})


def file(name):
    return Source(name, Entry("file", 0o644, 0, 0, name.encode()), RELEASE / name[1:])


def world(sources, **more):
    users = ("shop", "www-data", "strange")
    accounts = {n: Account(n, 70, 70, n, frozenset({70})) for n in users}
    entries = {end: ABSENT for s in sources for end in (s.name, f"{s.name}.pylonyard-new.disabled")}
    apache = ServerState(user="www-data", is_running=True)
    values = {"entries": entries, "accounts": accounts, "running": frozenset({"shop", "blog"})}
    values["webservers"] = {
        "apache": apache,
        "strange": ServerState(user="strange", is_running=True),
    }
    return World(**{**values, **more})


def commands(release, seen):
    return [step.command for step in plan(release, seen).steps if not isinstance(step, Lay)]


def test_only_the_web_server_whose_files_change_is_tested_and_reloaded():
    sources = (file("/etc/strange/sites-available/shop.conf"),)

    made = commands(
        Release(3, RELEASE, (site(), site("blog", server="apache")), sources), world(sources)
    )

    # What blog lacks is Apache's link alone.
    assert made == [
        "a2ensite blog",
        "ln -s ../sites-available/shop.conf /etc/strange/sites-enabled/shop.conf",
        "apache2ctl configtest",
        "stranged -t",
        "apache2ctl graceful",
        "curl --include --header 'Host: blog.example.org' http://127.0.0.1:80/",
        "service strange reload",
        "curl --include --header 'Host: shop.example.org' http://127.0.0.1:80/",
    ]
    assert commands(Release(3, RELEASE, (site(),), sources), world(sources))[:2] == [
        "ln -s ../sites-available/shop.conf /etc/strange/sites-enabled/shop.conf",
        "stranged -t",
    ]


def test_site_that_changes_its_web_server_leaves_the_one_before():
    sources = (file("/etc/strange/sites-available/shop.conf"),)
    old = file("/etc/apache2/sites-available/shop.conf")
    seen = world((*sources, old))
    apache = ServerState(user="www-data", is_running=True, enabled_sites=frozenset({"shop"}))
    seen = world(
        (*sources, old),
        laid={old.name: old.entry.digest},
        originals={old.name: ABSENT},
        entries={**seen.entries, old.name: old.entry},
        webservers={**seen.webservers, "apache": apache},
    )

    made = commands(Release(4, RELEASE, (site(),), sources), seen)

    assert made[:2] == ["a2dissite shop", f"rm {old.name}"]
    assert [line for line in made if "configtest" in line or "graceful" in line] == [
        "apache2ctl configtest",
        "apache2ctl graceful",
    ]
    assert {"stranged -t", "service strange reload"} < set(made)


def test_web_server_that_is_not_installed_is_named_with_its_package():
    sources = (file("/etc/strange/sites-available/shop.conf"),)
    missing = {"strange": ServerState(user="strange", is_installed=False)}

    made = plan(Release(3, RELEASE, (site(),), sources), world(sources, webservers=missing))

    assert made.steps == ()
    assert made.notes == (
        "Strange is not installed, so its part is left out; apt-get install strange-core",
    )


def test_release_says_what_serves_a_site_and_an_older_one_means_apache(tmp_path):
    server = {"user": "shop", "data": "/d", "log": "/l/shop.log", "port": 8080}
    for name, said in {
        "new": {"mode": "proxy", "server": "strange"},
        "old": {"mode": "proxy"},
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "server.json").write_text(json.dumps(server))
        (tmp_path / name / "site.json").write_text(json.dumps(said))

    found = {one.name: one.server for one in contents.described_sites(tmp_path)}

    assert found == {"new": "strange", "old": "apache"}
    (tmp_path / "new/site.json").write_text('{"server": "nobody knows"}')
    with pytest.raises(ActivationError) as caught:
        contents.described_sites(tmp_path)
    names = ", ".join(registry.NAMES)
    assert f"expected a web server ({names}), got 'nobody knows'" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "is_allowed"),
    [
        ("/etc/strange/sites-available/shop.conf", True),
        ("/etc/strange/sites-available/../strange.conf", False),
        ("/etc/strange/strange.conf", False),
        ("/etc/strange/mods-available/wsgi.load", False),
        ("/etc/apache2/mods-available/wsgi.load", True),
        ("/etc/apache2/mods-available/ssl.load", False),
        ("/etc/init.d/shop", True),
        ("/etc/cron.d/shop", True),
        ("/etc/cron.daily/shop", False),
        ("/etc/logrotate.d/shop", True),
        ("/etc/passwd", False),
    ],
)
def test_release_lays_only_what_one_of_them_may_have(name, is_allowed):
    assert contents._is_allowed(name) is is_allowed


@pytest.fixture
def runner(tmp_path):
    return StepRunner(Tree(tmp_path), tmp_path, Journal(str(tmp_path)), lambda line: None)


def laying(runner):
    name = "/etc/strange/sites-available/shop.conf"
    text = Entry("file", 0o644, os.geteuid(), os.getegid(), b"ours")
    return Lay(name, text, runner.sandbox / "shop.conf")


def test_web_server_that_refuses_has_its_steps_undone(runner, strange):
    strange.refuses = "line 7 is wrong"

    with pytest.raises(ActivationError) as caught:
        runner.apply_all((laying(runner), steps.Test("strange"), Reload("strange", True)), {})

    assert str(caught.value) == "stranged -t: line 7 is wrong; all is as it was before"
    assert strange.asked == ["test"]
    assert runner.tree.names("/etc/strange/sites-available") == []


def test_journal_tells_which_web_server_was_told(runner, strange):
    runner.apply_all((laying(runner), Reload("strange", True)), {})

    assert runner.journal.reloaded == {"strange": "reload"}
    assert journals.load(runner.tree, runner.sandbox).reloaded == {"strange": "reload"}
    said = json.loads(runner.tree.read(journals.name_of(runner.sandbox)).content)
    assert (said["reloaded"], said["reloaded-others"]) == ("", {"strange": "reload"})

    runner.roll_back()

    assert strange.asked == ["reload", "reload"]
    assert journals.load(runner.tree, runner.sandbox).reloaded == {}


@pytest.mark.parametrize(("written", "read"), [("", {}), ("start", {"apache": "start"})])
def test_journal_of_before_there_was_a_choice_means_apache(runner, written, read):
    journals.save(runner.tree, runner.sandbox, Journal("x", 3))
    name = journals.name_of(runner.sandbox)
    values = json.loads(runner.tree.read(name).content)
    del values["reloaded-others"]
    text = json.dumps({**values, "reloaded": written}).encode()
    runner.tree.put(name, Entry("file", 0o600, 0, 0, text))

    assert journals.load(runner.tree, runner.sandbox).reloaded == read


def test_deactivation_reloads_the_web_server_whose_site_goes(runner, strange):
    lines = []
    runner.apply_all((laying(runner),), {})
    runner.finish(1, {"/etc/strange/sites-available/shop.conf": ""})
    releases = Releases(runner.sandbox / "releases", runner.sandbox / "current")

    Activation(runner.sandbox, releases, runner.tree).deactivate(lines.append)

    assert strange.asked == ["test", "reload"]
    assert lines[0] == "service strange reload"


def test_link_that_a_command_names_whole_is_ours(runner):
    enabled = "/etc/strange/sites-enabled"
    runner.tree.put(f"{enabled}/other.conf", Entry("link", content=b"x"))
    folder = runner.tree.path(enabled)
    made = f"ln -s x {folder}/shop.conf; ln -s x {folder}/mine.conf; true"

    runner.apply_all((Tool(("sh", "-c", made, f"{enabled}/shop.conf"), (enabled,)),), {})
    runner.roll_back()

    assert runner.tree.names(enabled) == ["mine.conf", "other.conf"]


def test_doctor_speaks_of_the_web_server_of_the_site(place, strange):
    Tree(place).put("/etc/strange/sites-available/shop.conf", Entry("file", 0o644, 0, 0))
    strange.refuses = "line 7 is wrong"
    examined = subject(place, server="strange")

    found = [
        one
        for check in (webserver.running, webserver.config, webserver.enabled)
        for one in check(examined)
    ]

    assert [(one.check, one.ok, one.text) for one in found] == [
        ("strange-running", True, "Strange runs, process 7"),
        ("strange-config", False, "Strange refuses its configuration: line 7 is wrong"),
        ("site-enabled", False, "the site shop is not enabled"),
    ]
    assert found[2].advice == (
        "ln -s ../sites-available/shop.conf /etc/strange/sites-enabled/shop.conf "
        "&& stranged -t && service strange reload"
    )
