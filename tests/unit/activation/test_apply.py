"""Steps taken and undone on a scratch tree, without any program of Debian's."""

import contextlib
import functools
import os

import pytest
from pylonyard.activation import journal as journals
from pylonyard.activation.activate import Activation
from pylonyard.activation.apply import StepRunner, ignoring_closed_output, undo
from pylonyard.activation.journal import Journal
from pylonyard.activation.steps import Keep, Lay, Restore, Serve, Tool
from pylonyard.releases.store import Releases
from pylonyard.system.errors import ActivationError, CommandError
from pylonyard.system.rootfs import ABSENT, Entry, Tree
from pylonyard.webservers.apache.machine import MachineApache

VHOST = "/etc/apache2/sites-available/shop.conf"
OLD = VHOST + ".pylonyard-old.disabled"
SECOND_OLD = VHOST + ".pylonyard-old.1.disabled"


def file(text):
    return Entry("file", 0o644, os.geteuid(), os.getegid(), text.encode())


LINK = Entry("link", content=b"x")
OURS, THEIRS, OTHERS = file("ours"), file("theirs"), file("others")


@pytest.fixture
def printed():
    """The lines that were said."""
    return []


@pytest.fixture
def runner(tmp_path, printed):
    (tmp_path / "etc").mkdir()
    return StepRunner(Tree(tmp_path), tmp_path, Journal(str(tmp_path)), printed.append)


def lay(runner, entry=OURS):
    return Lay(VHOST, entry, runner.sandbox / "shop.conf")


def activate(runner, *steps):
    runner.apply_all(steps, {})
    runner.finish(1, {})


def test_file_that_was_kept_survives_the_undoing_of_what_took_its_place(runner):
    activate(runner, lay(runner))
    runner.tree.put(VHOST, THEIRS)
    activate(runner, Keep(VHOST, OLD), lay(runner))

    undo(runner, runner.journal.ours)

    assert runner.tree.read(OLD) == THEIRS
    assert runner.tree.read(VHOST) == ABSENT


def test_file_that_was_kept_goes_back_when_a_step_fails(runner):
    runner.tree.put(VHOST, THEIRS)
    runner.tree.put("/etc/init.d/inner", OURS)

    with pytest.raises(ActivationError):
        activate(runner, Keep(VHOST, OLD), lay(runner), Restore("/etc/init.d", OURS))

    assert runner.tree.read(VHOST) == THEIRS
    assert runner.tree.read(OLD) == ABSENT


def test_second_edit_is_kept_beside_the_first(runner, printed):
    runner.tree.put(OLD, OTHERS)
    activate(runner, lay(runner))
    runner.tree.put(VHOST, THEIRS)

    undo(runner, runner.journal.ours)

    assert runner.tree.read(OLD) == OTHERS
    assert runner.tree.read(SECOND_OLD) == THEIRS
    assert printed[-1] == f"# {VHOST}: edited here; yours is kept as {SECOND_OLD}"


def test_error_of_a_program_is_reported_and_not_its_last_line(runner):
    said = "echo reading; echo 'error: x:3 unknown option'; echo Handling 0 logs; exit 1"

    with pytest.raises(ActivationError) as caught:
        activate(runner, Tool(("sh", "-c", said)))

    assert "sh: error: x:3 unknown option; all is as it was before" in str(caught.value)


class Serving(StepRunner):
    """One whose sites have a server that can fail to do as it is told."""

    runs = None
    fails = ()

    def _runs(self, site):
        return self.runs

    def _serve(self, site, action):
        if action in self.fails:
            raise CommandError(f"/etc/init.d/{site} {action}", "it is broken")
        self.say(f"{site}: done: {action}")


@pytest.fixture
def serving(runner, printed):
    return Serving(runner.tree, runner.sandbox, runner.journal, printed.append)


@pytest.mark.parametrize(("runs", "undone"), [(1, []), (None, ["shop: done: stop"])])
def test_server_is_stopped_again_only_if_it_did_not_run_before(serving, printed, runs, undone):
    serving.runs, serving.fails = runs, ("start",)

    with pytest.raises(ActivationError) as caught:
        activate(serving, Serve("shop", "start"))

    assert str(caught.value) == (
        "/etc/init.d/shop start: /etc/init.d/shop start: it is broken; all is as it was before"
    )
    assert printed == ["/etc/init.d/shop start", *undone]


def test_server_that_cannot_start_again_is_reported_and_the_rest_is_undone(serving, printed):
    serving.tree.put("/etc/init.d/shop", OURS)
    serving.runs, serving.fails = 1, ("start",)

    with pytest.raises(ActivationError) as caught:
        activate(serving, Serve("shop", "stop"), Serve("shop", "start"))

    assert str(caught.value) == (
        "/etc/init.d/shop start: /etc/init.d/shop start: it is broken; all is as it was before, "
        "but for this: /etc/init.d/shop start: it is broken"
    )
    assert printed[-2:] == ["/etc/init.d/shop start", "# /etc/init.d/shop start: it is broken"]
    assert not serving.journal.is_interrupted


def test_reader_who_is_gone_hinders_nothing():
    reading, writing = os.pipe()
    os.close(reading)

    with open(writing, "w") as stream, contextlib.redirect_stdout(stream):
        say = ignoring_closed_output(functools.partial(print, flush=True))
        say("the first line that nobody reads")
        say("the second")
        print("somebody else's", flush=True)


class Kill(BaseException):
    """As SIGKILL: nothing is done any more."""


class Killed(StepRunner):
    """One that is killed once it has taken a step, before it has written that down."""

    by: type[BaseException] = Kill

    def _apply(self, step):
        super()._apply(step)
        raise self.by


class Interrupted(Killed):
    by = KeyboardInterrupt


@pytest.fixture
def killed(runner, printed):
    return Killed(runner.tree, runner.sandbox, runner.journal, printed.append)


def test_step_of_a_killed_activation_is_undone(killed):
    killed.tree.put(VHOST, THEIRS)
    with pytest.raises(Kill):
        activate(killed, Keep(VHOST, OLD))

    killed.roll_back(was_killed=True)

    assert killed.tree.read(VHOST) == THEIRS
    assert killed.tree.read(OLD) == ABSENT
    assert not killed.journal.is_interrupted


def test_link_that_somebody_made_meanwhile_is_not_ours(runner):
    enabled = "/etc/apache2/sites-enabled"
    runner.tree.put(f"{enabled}/other.conf", LINK)
    made = f"cd {runner.tree.path(enabled)}; ln -s x shop.conf; ln -s x mine.conf"
    activate(runner, Tool(("sh", "-c", made, "shop"), (enabled,)))
    assert set(runner.journal.ours.files) == {f"{enabled}/shop.conf"}

    undo(runner, runner.journal.ours)

    assert runner.tree.names(enabled) == ["mine.conf", "other.conf"]


@pytest.mark.parametrize("end", ["true", "false"])
def test_module_that_somebody_enabled_meanwhile_is_not_ours(runner, tmp_path, end):
    """Be it that our modules were enabled, or that something failed."""
    enabled = "/etc/apache2/mods-enabled"
    runner.tree.put(f"{enabled}/other.load", LINK)
    needing = Entry("file", 0o644, os.geteuid(), os.getegid(), b"# Depends: setenvif\n")
    runner.tree.put("/etc/apache2/mods-available/ssl.load", needing)
    links = " ".join(f"ln -s x {name}.load;" for name in ("ssl", "setenvif", "mine"))

    class Enabling(StepRunner):
        def _run(self, words):
            super()._run(["sh", "-c", f"cd {self.tree.path(enabled)}; {links} {end}"])

    enabling = Enabling(runner.tree, runner.sandbox, runner.journal, runner.say)
    with contextlib.suppress(ActivationError):
        activate(enabling, Tool(("a2enmod", "ssl"), (enabled,)))
        undo(enabling, enabling.journal.ours)

    assert runner.tree.names(enabled) == ["mine.load", "other.load"]


def test_interrupted_activation_is_undone_at_once(runner, printed):
    interrupted = Interrupted(runner.tree, runner.sandbox, runner.journal, printed.append)
    interrupted.tree.put(VHOST, THEIRS)

    with pytest.raises(KeyboardInterrupt):
        activate(interrupted, Keep(VHOST, OLD))

    assert interrupted.tree.read(VHOST) == THEIRS
    assert interrupted.tree.read(OLD) == ABSENT
    assert not interrupted.journal.is_interrupted
    assert printed[-1] == "# interrupted: its steps are undone"


def test_second_interruption_ends_the_undoing_and_names_the_repair(runner, printed):
    class Impatient(Interrupted):
        def roll_back(self, *, was_killed=False):
            if not was_killed:
                raise KeyboardInterrupt
            super().roll_back(was_killed=True)

    impatient = Impatient(runner.tree, runner.sandbox, runner.journal, printed.append)
    with pytest.raises(KeyboardInterrupt):
        activate(impatient, lay(runner))
    assert printed[-2:] == [
        "# interrupted: its steps are undone",
        "# interrupted, and half undone: bin/pylonyard activate, or deactivate",
    ]
    assert impatient.journal.is_interrupted

    impatient.roll_back(was_killed=True)

    assert runner.tree.read(VHOST) == ABSENT


def test_interruption_that_cannot_be_undone_is_reported(runner, printed):
    class Stuck(Interrupted):
        def roll_back(self, *, was_killed=False):
            raise CommandError("apache2ctl graceful", "no")

    stuck = Stuck(runner.tree, runner.sandbox, runner.journal, printed.append)

    with pytest.raises(ActivationError) as caught:
        activate(stuck, lay(runner))

    assert str(caught.value) == "interrupted; and it cannot be undone: apache2ctl graceful: no"


def deactivate(runner, printed):
    place = runner.sandbox
    Activation(place, Releases(place, place), runner.tree).deactivate(printed.append)


def test_interrupted_deactivation_is_undone_at_once(runner, printed, monkeypatch):
    def interrupt(httpd):
        raise KeyboardInterrupt

    activate(runner, lay(runner))
    monkeypatch.setattr(MachineApache, "pid", 7)
    monkeypatch.setattr(MachineApache, "test", interrupt)

    with pytest.raises(KeyboardInterrupt):
        deactivate(runner, printed)

    assert runner.tree.read(VHOST) == OURS
    assert not journals.load(runner.tree, runner.sandbox).is_interrupted


def test_apache_that_ended_at_the_reload_is_started_with_its_site_again(
    runner, printed, monkeypatch
):
    """In a scratch tree as well: it ran a moment ago."""
    pids, reloads = [7], []

    def reload(httpd):
        reloads.append(runner.tree.read(VHOST) == OURS)
        if pids:
            pids.clear()
            raise ActivationError("Apache has ended at the reload")

    activate(runner, lay(runner))
    monkeypatch.setattr(MachineApache, "pid", property(lambda httpd: pids[0] if pids else None))
    monkeypatch.setattr(MachineApache, "test", lambda httpd: None)
    monkeypatch.setattr(MachineApache, "reload", reload)

    with pytest.raises(ActivationError) as caught:
        deactivate(runner, printed)

    assert str(caught.value) == (
        "without it, Apache does not reload: Apache has ended at the reload; it stays active"
    )
    assert reloads == [False, True]


def test_apache_that_does_not_reload_keeps_its_site(runner, printed, monkeypatch):
    reloads = []

    def reload(httpd):
        reloads.append(runner.tree.read(VHOST) == OURS)
        if len(reloads) == 1:
            raise CommandError("apache2ctl graceful", "no")

    activate(runner, lay(runner))
    monkeypatch.setattr(MachineApache, "pid", 7)
    monkeypatch.setattr(MachineApache, "test", lambda httpd: None)
    monkeypatch.setattr(MachineApache, "reload", reload)
    active = Activation(runner.sandbox, Releases(runner.sandbox, runner.sandbox), runner.tree)

    with pytest.raises(ActivationError) as caught:
        active.deactivate(printed.append)

    assert str(caught.value) == (
        "without it, Apache does not reload: apache2ctl graceful: no; it stays active"
    )
    assert reloads == [False, True]
    assert active.active_number() == 1


def test_file_that_somebody_wrote_since_the_kill_is_kept(killed, printed):
    with pytest.raises(Kill):
        activate(killed, lay(killed))
    killed.tree.put(VHOST, THEIRS)

    killed.roll_back(was_killed=True)

    assert killed.tree.read(VHOST) == ABSENT
    assert killed.tree.read(OLD) == THEIRS
    assert printed[-1] == f"# {VHOST}: edited here; yours is kept as {OLD}"


def test_link_that_somebody_made_since_the_kill_stays(killed):
    enabled = "/etc/apache2/sites-enabled"
    killed.tree.put(f"{enabled}/other.conf", LINK)
    made = f"ln -s x {killed.tree.path(enabled)}/shop.conf"
    with pytest.raises(Kill):
        activate(killed, Tool(("sh", "-c", made, "shop"), (enabled,)))
    killed.tree.put(f"{enabled}/mine.conf", LINK)

    killed.roll_back(was_killed=True)

    assert killed.tree.names(enabled) == ["mine.conf", "other.conf"]
