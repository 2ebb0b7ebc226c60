import hashlib
import json
import os
from pathlib import Path
from typing import ClassVar

import pytest
from pylonyard.activation.activate import Activation
from pylonyard.commands.rollback import rollback
from pylonyard.releases.store import Releases, link_commands
from pylonyard.system import accounts
from pylonyard.system.errors import ActivationError
from pylonyard.system.rootfs import Tree
from support import reset_buildout

# As bin/<site>, whose server runs unless <log>.stopped is there.
CONTROL = """\
#!/bin/sh
echo "$1" >> {log}
case "$1" in
    status) test ! -e {log}.stopped || exit 3 ;;
    stop) test ! -e {log}.stays || {{ echo "it does not end" >&2; exit 1; }} ;;
    start|try-restart) test ! -e {log}.broken || {{ echo "{name}: is broken" >&2; exit 1; }} ;;
esac
echo "{name}: $1"
"""


@pytest.fixture
def place(tmp_path):
    """A sandbox with two releases: the first has the site shop, the second blog, too."""
    releases = Releases(tmp_path / "releases", tmp_path / "current")
    for sites in (["shop"], ["shop", "blog"]):
        publish(releases, sites)
    link_commands(tmp_path / "bin", releases.current)
    with reset_buildout():
        yield tmp_path


def publish(releases, sites, port=8080):
    with releases.draft() as folder:
        files = {}
        (folder / "bin").mkdir()
        for name in sites:
            log = releases.folder.parent / f"{name}.log"
            control = folder / "bin" / name
            control.write_text(CONTROL.format(name=name, log=log))
            control.chmod(0o755)
            (folder / name).mkdir()
            described = {"data": "/srv/data", "log": "/srv/log/shop.log", "port": port}
            server = folder / name / "server.json"
            server.write_text(json.dumps(described))
            digest = hashlib.sha256(server.read_bytes()).hexdigest()
            files[f"{name}/server.json"] = {"sha256": digest, "mode": "0644"}
        (folder / "manifest.json").write_text(json.dumps({"files": files}))
        releases.publish(folder)


class NothingActive(Activation):
    """The activation of a machine on which no release is active."""

    def active_number(self):
        return None


class Laid(Activation):
    """The activation of a machine whose note says that release 2 is active."""

    is_allowed = False

    def active_number(self):
        return 2


class Unknown(Laid):
    """The activation of a machine with a journal that only root can read."""

    def active_number(self):
        raise PermissionError


def back(place, root=Path("/"), kind=NothingActive):
    """Roll back from release 2 to 1; return the status, and what was said."""
    releases = Releases(place / "releases", place / "current")
    said = []
    status = rollback(kind(place, releases, Tree(root)), place / "bin", None, said.append)
    return status, said


def state(place):
    current = Releases(place / "releases", place / "current").current_number()
    return current, sorted(path.name for path in (place / "bin").iterdir())


def actions_of(place, site):
    """Return the actions that the command of a site was given."""
    log = place / f"{site}.log"
    return log.read_text().split() if log.exists() else []


def resigned(folder, name, text):
    """Give a file of a release another content, and have the manifest say so."""
    (folder / name).write_text(text)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name]["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def without_manifest(folder):
    (folder / "manifest.json").unlink()


def with_a_pipe_for_manifest(folder):
    (folder / "manifest.json").unlink()
    os.mkfifo(folder / "manifest.json")


def without_modes(folder):
    script = folder / "etc" / "init.d" / "shop"
    script.parent.mkdir(parents=True)
    script.touch()
    said = {"sha256": hashlib.sha256(b"").hexdigest()}
    text = json.dumps({"files": {"etc/init.d/shop": said}})
    (folder / "manifest.json").write_text(text)


def with_words_for_files(folder):
    (folder / "manifest.json").write_text('{"files": {"shop/server.json": "here"}}')


def with_a_cut_description(folder):
    resigned(folder, "shop/server.json", "{")


def with_half_a_description(folder):
    resigned(folder, "shop/server.json", "{}")


def with_another_description(folder):
    (folder / "shop/server.json").write_text("{}")


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (without_manifest, "{0}/manifest.json: expected a manifest, got FileNotFoundError"),
        (with_a_pipe_for_manifest, "{0}/manifest.json: expected a regular file"),
        (
            without_modes,
            "{0}/manifest.json: expected mode and sha256 of each file, got KeyError('mode')",
        ),
        (
            with_words_for_files,
            "{0}/manifest.json: expected mode and sha256 of each file, "
            "got AttributeError(\"'str' object has no attribute 'get'\")",
        ),
        (
            with_a_cut_description,
            "shop/server.json: expected a JSON object, got other text: Expecting property name "
            "enclosed in double quotes: line 1 column 2 (char 1)",
        ),
        (
            with_half_a_description,
            "{0}: expected descriptions of its sites, got KeyError('data')",
        ),
        (
            with_another_description,
            "{0}/shop/server.json: expected the content in its manifest, got another",
        ),
    ],
)
def test_damaged_release_is_not_returned_to(place, damage, why):
    folder = place / "releases" / "1"
    damage(folder)

    with pytest.raises(ActivationError) as caught:
        back(place)

    assert str(caught.value) == (
        f"release 1 is damaged: {why.format(folder)}: run bin/buildout, or roll back to another"
    )
    assert state(place) == (2, ["blog", "shop"])
    assert actions_of(place, "shop") == actions_of(place, "blog") == []


@pytest.mark.parametrize("error", [KeyError, OSError, KeyboardInterrupt])
def test_machine_and_current_stay_together_after_any_failure(place, error):
    class Failing(NothingActive):
        is_allowed = True

        def active_number(self):
            raise error

    with pytest.raises(error):
        back(place, kind=Failing)

    assert state(place) == (2, ["blog", "shop"])
    assert actions_of(place, "blog") == ["status", "stop", "start"]


class Active(NothingActive):
    """Of a machine on which a release is active; ``laid`` is what each activation found."""

    is_allowed = True
    laid: ClassVar = []

    def active_number(self):
        return 2

    def activate(self, say):
        self.laid.append(actions_of(self.sandbox, "shop"))
        if Path(self.sandbox, "refused").exists():
            raise ActivationError("Apache refuses it")


@pytest.fixture
def moving(place, monkeypatch):
    """As ``place``, but the server of the first release listens at another port."""
    releases = Releases(place / "releases", place / "current")
    for number in (1, 2):
        server = {"data": "/srv/data", "log": "/srv/log/shop.log", "port": 8080 + number}
        resigned(place / f"releases/{number}", "shop/server.json", json.dumps(server))
    assert releases.current_number() == 2
    monkeypatch.setattr(Active, "laid", [])
    return place


def test_server_is_at_its_port_before_apache_asks_there(moving):
    status, said = back(moving, kind=Active)

    assert Active.laid == [["try-restart"]]
    assert (status, said[1]) == (0, "shop: try-restart")
    assert actions_of(moving, "shop") == ["try-restart"]
    assert state(moving) == (1, ["shop"])


def test_server_returns_to_its_port_when_apache_refuses_the_release(moving):
    (moving / "refused").touch()

    with pytest.raises(ActivationError):
        back(moving, kind=Active)

    assert actions_of(moving, "shop") == ["try-restart", "try-restart"]
    assert state(moving) == (2, ["blog", "shop"])


def test_server_that_cannot_move_keeps_its_release(moving):
    (moving / "shop.log.broken").touch()

    with pytest.raises(ActivationError) as caught:
        back(moving, kind=Active)

    assert (str(caught.value), Active.laid) == ("shop: is broken", [])
    assert state(moving) == (2, ["blog", "shop"])


def test_server_that_was_stopped_is_started_if_another_cannot_be(place):
    releases = Releases(place / "releases", place / "current")
    publish(releases, ["blog", "shop", "wiki"])
    releases.make_current(2)
    publish(releases, ["shop"])
    releases.make_current(3)
    link_commands(place / "bin", releases.current)
    (place / "wiki.log.stays").touch()

    with pytest.raises(ActivationError):
        rollback(
            NothingActive(place, releases, Tree(Path("/"))), place / "bin", 1, lambda line: None
        )

    assert actions_of(place, "blog") == ["status", "stop", "start"]


def test_commands_are_those_of_the_release_when_it_is_laid(place):
    """Its init scripts start servers by them."""
    seen = []

    class Looking(NothingActive):
        is_allowed = True

        def active_number(self):
            seen.append(state(place))

    back(place, kind=Looking)

    assert seen == [(1, ["shop"])]


def test_server_of_a_site_that_the_release_lacks_is_stopped(place):
    status, said = back(place)

    assert (status, said) == (0, ["blog: stop", "Release 1 is current.", "shop: try-restart"])
    assert actions_of(place, "blog") == ["status", "stop"]
    assert state(place) == (1, ["shop"])


def test_server_that_does_not_run_is_not_spoken_of(place):
    (place / "blog.log.stopped").touch()

    assert back(place) == (0, ["Release 1 is current.", "shop: try-restart"])

    assert actions_of(place, "blog") == ["status"]


def test_server_that_nothing_could_stop_afterwards_keeps_its_release(place):
    (place / "blog.log.stays").touch()

    with pytest.raises(ActivationError) as caught:
        back(place)

    assert str(caught.value) == (
        "it does not end; stop it first, since the release to return to has no blog"
    )
    assert state(place) == (2, ["blog", "shop"])


def test_damaged_release_can_be_left(place):
    (place / "releases/2/blog/server.json").write_text("{")

    assert back(place) == (0, ["Release 1 is current.", "shop: try-restart"])


def test_scratch_tree_is_no_reason_to_touch_servers(place, tmp_path):
    assert back(place, root=tmp_path) == (0, ["Release 1 is current."])

    assert actions_of(place, "shop") == actions_of(place, "blog") == []


def test_command_that_cannot_start_leaves_all_as_it_was(place):
    (place / "releases/1/bin/shop").chmod(0o644)

    with pytest.raises(ActivationError) as caught:
        back(place)

    assert str(caught.value) == (
        f"{place}/bin/shop try-restart: [Errno 13] Permission denied: '{place}/bin/shop'"
    )
    assert state(place) == (2, ["blog", "shop"])


def test_server_that_cannot_be_restarted_gets_its_release_back(place):
    (place / "shop.log.broken").touch()

    with pytest.raises(ActivationError, match="shop: is broken"):
        back(place)

    # It may have ended; if it goes on, a start leaves it alone.
    assert actions_of(place, "shop") == ["try-restart", "start"]
    assert actions_of(place, "blog") == ["status", "stop", "start"]
    assert state(place) == (2, ["blog", "shop"])


def test_file_of_the_application_that_was_changed_is_damage(place):
    folder = place / "releases/1"
    (folder / "shop/production.ini").write_text("changed")
    described = json.loads((folder / "manifest.json").read_text())
    described["files"]["shop/production.ini"] = {"sha256": "0" * 64, "mode": "0600"}
    (folder / "manifest.json").write_text(json.dumps(described))

    with pytest.raises(
        ActivationError, match=r"shop/production.ini: expected the content in its manifest"
    ):
        back(place)

    assert state(place) == (2, ["blog", "shop"])


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Laid, "Release 2 is still active; to activate this one: {}"),
        (Unknown, "If a release was active, make this one active: {}"),
    ],
)
def test_account_that_may_not_activate_learns_what_is_left_to_do(place, monkeypatch, kind, message):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    status, said = back(place, kind=kind)

    assert status == 0
    assert message.format(accounts.as_root("bin/pylonyard activate")) in said
