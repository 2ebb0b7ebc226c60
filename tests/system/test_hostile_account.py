"""What the site's account may try against root: it owns ``var``, and all that is in it.

Each attack is planted, then root does what root does.  Nothing of root's may change,
end, or be told; what may is what the same commands change on a peaceful machine.
"""

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

import machines
import pytest
from namespaces import entering
from real_machines import UID, difference, real_machine

pytestmark = machines.NEEDED

PRECIOUS = "root's own, and nobody else's"
LOGS = [f"var/log/simplesite{kind}.log" for kind in ("", "-server", "-access", "-error", "-httpd")]
MOD_WSGI, EMBEDDED, PROXY = 1, 2, 3

JOURNAL = "var/lib/pylonyard"

ACTIVATE = "bin/pylonyard activate"
DEACTIVATE = "bin/pylonyard deactivate"
DOCTOR = "bin/pylonyard doctor"
START, STOP = "/etc/init.d/simplesite start", "/etc/init.d/simplesite stop"
RESTART = "/etc/init.d/simplesite restart"
BY_HAND = "bin/simplesite restart"
PRIVATE = "bin/simplesite-httpd start; bin/simplesite-httpd stop"
ENSURE = "su -s /bin/sh -c '/etc/init.d/simplesite ensure' simplesite"
ROTATE = "logrotate --force --state /run/rotated /etc/logrotate.d/simplesite"
BUILD = "bin/buildout -c production.cfg site:port=8080 site:mode=proxy"
VISIT = "curl -s -H Host:www.example.org http://127.0.0.1/ http://127.0.0.1/nowhere"
ALL = (ACTIVATE, VISIT, ENSURE, ROTATE, BY_HAND, PRIVATE, STOP, DOCTOR, DEACTIVATE)
SERVE = (ACTIVATE, RESTART, STOP, DEACTIVATE)


@dataclass(frozen=True)
class Attack:
    plant: Callable[["Scene"], object]
    actions: tuple[str, ...] = ALL
    release: int = PROXY
    refused: str = ""
    """What the first action has to say, where it has to refuse."""


@dataclass
class Scene:
    """A machine with a sandbox whose ``var`` the account owns, and root's precious things."""

    machine: object
    loops: list[subprocess.Popen]

    @property
    def path(self):
        return self.machine.checkout.path

    def place(self, name):
        return self.path / name

    def link(self, name, target):
        """Put a link in the place of a file, or of a folder, as the account."""
        place = self.place(name)
        if place.is_dir() and not place.is_symlink():
            place.rename(place.with_name(place.name + ".aside"))
        else:
            place.unlink(missing_ok=True)
        place.symlink_to(target)
        os.lchown(place, UID, UID)

    def loop(self, script):
        """Run a shell script of the account's, over and over, until the attack has ended."""
        enter = [*entering(self.machine.inside, "--pid", "--mount"), "--"]
        become = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups"]
        words = [*enter, *become, "sh", "-c", f"cd {self.path}; while :; do {script}; done"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.loops.append(subprocess.Popen(words, **quiet))

    def swap(self, name, target):
        """Have a folder be a link half of the time."""
        self.loop(
            f"mv {name} {name}.aside && ln -s {target} {name}; rm {name}; mv {name}.aside {name}"
        )


def sign(scene, number, path):
    """Make the manifest say what a file of a release now is, as only root could."""
    folder = scene.path / f"releases/{number}"
    manifest = folder / "manifest.json"
    content = json.loads(manifest.read_text())
    digest = hashlib.sha256((folder / path).read_bytes()).hexdigest()
    content["files"][path]["sha256"] = digest
    manifest.write_text(json.dumps(content))


def planted_key(scene):
    """A certificate whose key is a link of the account's."""
    described = scene.path / f"releases/{PROXY}/simplesite/site.json"
    key = scene.place("var/key.pem")
    scene.link("var/key.pem", "/etc/victim")
    content = {**json.loads(described.read_text()), "ssl-key": str(key)}
    described.write_text(json.dumps(content))
    sign(scene, PROXY, "simplesite/site.json")


def replaced_by_pipe(scene):
    place = scene.path / f"releases/{PROXY}/simplesite/site.json"
    place.unlink()
    os.mkfifo(place)
    os.chown(place.parent, UID, UID)


def given(name):
    """Return what gives a file, or a folder, of the sandbox to the account."""
    return lambda scene: os.chown(scene.place(name), UID, UID)


def opened(name):
    return lambda scene: scene.place(name).chmod(0o777)


def linked(name, target):
    return lambda scene: scene.link(name, target)


def piped(name):
    def plant(scene):
        scene.place(name).unlink(missing_ok=True)
        os.mkfifo(scene.place(name))
        os.chown(scene.place(name), UID, UID)

    return plant


def on_all(kind, *more):
    """Return what does the same to every log."""
    plants = [kind(name, *more) for name in LOGS]
    return lambda scene: [plant(scene) for plant in plants]


def made_folder(name):
    def plant(scene):
        scene.place(name).unlink(missing_ok=True)
        scene.place(name).mkdir()
        os.chown(scene.place(name), UID, UID)

    return plant


def hard_linked(name):
    """As on a machine with fs.protected_hardlinks off."""

    def plant(scene):
        scene.place(name).unlink(missing_ok=True)
        scene.place("var/victim").write_text(PRECIOUS)
        scene.place("var/victim").chmod(0o600)
        os.chown(scene.place("var/victim"), 0, 0)
        os.link(scene.place("var/victim"), scene.place(name))

    return plant


def pids(text):
    """Put the number of a process of root's, or what means many, wherever one may be read."""

    def plant(scene):
        found = text or scene.machine.precious
        names = [path.name for path in scene.place("var/run").iterdir() if path.is_file()]
        for name in {*names, "simplesite-httpd.pid", "simplesite.pid", "simplesite.lock"}:
            scene.place(f"var/run/{name}").write_text(f"{found}\n")

    return plant


def marked(scene):
    """A process of root's that has the environment of the site's server."""
    run = scene.machine.run
    run("bin/simplesite", "start")
    server = run("pgrep", "-u", "simplesite", "-f", "production.ini").stdout.split()[0]
    script = f"xargs -0 -a /proc/{server}/environ sh -c 'exec env \"$@\" sleep 999' sh"
    run("sh", "-c", f"setsid {script} >/dev/null 2>&1 &")
    time.sleep(0.2)
    scene.machine.precious_marked = True


def secret_link(scene):
    (name,) = [p.name for p in scene.place("var/secrets/simplesite").glob("editor-password")]
    scene.link(f"var/secrets/simplesite/{name}", "/etc/victim")


def no_marker_of_setup(scene):
    """Have setup-app be run again, and its marker be written elsewhere."""
    shutil.move(scene.place("var/setup"), scene.place("var/setup.old"))
    scene.link("var/setup", "/etc/victim.d")


def no_secrets(scene):
    shutil.move(scene.place("var/secrets"), scene.place("var/secrets.old"))
    scene.place("var/secrets").mkdir()
    os.chown(scene.place("var/secrets"), UID, UID)
    scene.link("var/secrets/simplesite", "/etc/victim.d")


def hello_watcher(scene):
    """Plant links in whatever folder the doctor makes for its Hello World."""
    names = "hello.py hello.wsgi hello.ini httpd.conf output.log run/error.log run/hello.py"
    scene.loop(
        f"for d in /tmp/hello-*; do for n in {names}; do "
        "ln -sf /etc/victim $d/$n; ln -s /etc/cron.d/evil $d/$n; done; done"
    )


def lost_folder(name):
    """Have root make a folder anew, and swap it for a link at that moment."""

    def plant(scene):
        shutil.rmtree(scene.place(name))
        scene.loop(f"mv {name} {name}.$$ && ln -s /etc/victim.d {name}; sleep 0.001; rm -f {name}")

    return plant


ATTACKS = {
    "each log leads to a file of root's": Attack(on_all(linked, "/etc/victim")),
    "each log leads into /etc/cron.d": Attack(on_all(linked, "/etc/cron.d/evil")),
    "each log is a pipe": Attack(on_all(piped)),
    "a log is a folder": Attack(made_folder(LOGS[1])),
    "a log is a second name of a file of root's": Attack(hard_linked(LOGS[0])),
    "the log folder leads to one of root's": Attack(linked("var/log", "/etc/victim.d")),
    "the run folder leads to one of root's": Attack(linked("var/run", "/etc/victim.d")),
    "the data folder leads to one of root's": Attack(
        linked("var/data/simplesite", "/etc/victim.d")
    ),
    "the egg cache leads to a folder of root's": Attack(
        linked("var/data/simplesite/egg-cache", "/etc/victim.d")
    ),
    "var leads to /etc": Attack(linked("var", "/etc"), (ACTIVATE, DOCTOR, START, STOP, BUILD)),
    "pid files name a process of root's": Attack(pids("")),
    "pid files name process 1": Attack(pids("1"), SERVE),
    "pid files say -1, which means all": Attack(pids("-1"), SERVE),
    "pid files say 0, which means our group": Attack(pids("0"), SERVE),
    "pid files say what is no number": Attack(pids("$(touch /etc/cron.d/evil)"), SERVE),
    "a process of root's has the server's environment": Attack(marked, SERVE),
    "the log folder is swapped all the time": Attack(
        lambda scene: scene.swap("var/log", "/etc/victim.d")
    ),
    "the run folder is swapped all the time": Attack(
        lambda scene: scene.swap("var/run", "/etc/victim.d")
    ),
    "the data folder is swapped while Apache is let in": Attack(
        lambda scene: scene.swap("var/data/simplesite", "/etc/victim.d"),
        (ACTIVATE, DOCTOR, DEACTIVATE) * 3,
        EMBEDDED,
    ),
    "data has links to files of root's while Apache is let in": Attack(
        linked("var/data/simplesite/link", "/etc/victim"), (ACTIVATE, DEACTIVATE), EMBEDDED
    ),
    "data has a second name of a file of root's while Apache is let in": Attack(
        hard_linked("var/data/simplesite/name"), (ACTIVATE, DEACTIVATE), EMBEDDED
    ),
    "the embedded site's log leads into /etc/cron.d": Attack(
        linked(LOGS[0], "/etc/cron.d/evil"), (ACTIVATE, DEACTIVATE), EMBEDDED
    ),
    "the doctor's Hello World is watched for": Attack(hello_watcher, (DOCTOR,) * 3),
    "a secret leads to a file of root's": Attack(secret_link, (BUILD,)),
    "a secret is a pipe": Attack(piped("var/secrets/simplesite/editor-password"), (BUILD,)),
    "a secret is a second name of a file of root's": Attack(
        hard_linked("var/secrets/simplesite/editor-password"), (BUILD,)
    ),
    "the secrets' folder leads to one of root's": Attack(no_secrets, (BUILD,)),
    "the marker of setup-app leads to a folder of root's": Attack(
        no_marker_of_setup, (f"{BUILD} site:port=8081",)
    ),
    "the log folder is swapped when root makes it": Attack(
        lost_folder("var/log"), (f"{BUILD} site:port=8082",) * 2
    ),
    "the data folder is swapped when root makes it": Attack(
        lost_folder("var/data/simplesite"), (f"{BUILD} site:port=8083",) * 2
    ),
    "the key of TLS is a link of the account's": Attack(
        planted_key, (ACTIVATE,), refused="its owner simplesite could change"
    ),
    **{
        f"the account owns {name}": Attack(
            given(name), (ACTIVATE, "bin/pylonyard rollback 2"), refused="its owner simplesite"
        )
        for name in (
            ".",
            "releases",
            f"releases/{PROXY}",
            f"releases/{PROXY}/manifest.json",
            f"releases/{PROXY}/etc/init.d/simplesite",
        )
    },
    # It is read once, and compared with the manifest, which is root's.
    "the account owns the settings of its server": Attack(
        given(f"releases/{PROXY}/simplesite/server.json"), (ACTIVATE, DEACTIVATE)
    ),
    "everybody may write into the releases": Attack(
        opened("releases"), (ACTIVATE,), refused="everybody could change"
    ),
    "a file of a release is a pipe of the account's": Attack(
        replaced_by_pipe, (ACTIVATE,), refused="pylonyard: "
    ),
    "the account owns mod_wsgi": Attack(
        lambda scene: os.chown(module(scene), UID, UID),
        (ACTIVATE,),
        MOD_WSGI,
        refused="its owner simplesite could change",
    ),
}


def module(scene):
    described = scene.path / f"releases/{MOD_WSGI}/simplesite/site.json"
    return json.loads(described.read_text())["module"]


@pytest.fixture(scope="module")
def scene(public_folder, clean_environ):
    environ = {**clean_environ, "BUILDOUT_HOME": str(public_folder / "home")}
    with real_machine(public_folder, environ, "site:mode=mod_wsgi") as machine:
        for mode in ("embedded", "proxy"):
            words = ["-c", "production.cfg", "site:port=8080", f"site:mode={mode}"]
            machine.run("bin/buildout", *words, net=False)
        machine.path("/etc/victim").write_text(PRECIOUS)
        machine.path("/etc/victim").chmod(0o600)
        machine.path("/etc/victim.d").mkdir()
        machine.path("/etc/victim.d/file").write_text(PRECIOUS)
        machine.run("sh", "-c", "setsid sleep 98765 >/dev/null 2>&1 & sleep 0.1")
        machine.precious = machine.run("pgrep", "-f", "^sleep 98765").stdout.strip()
        machine.run("service", "apache2", "start")
        machine.run("chown", "-R", "simplesite:simplesite", "var")
        kept = machine.checkout.path / "kept"
        kept.mkdir()
        machine.run("cp", "-a", "--", "var", "releases", kept)
        yield Scene(machine, [])


def put_back(scene, held):
    """Make the sandbox what it was; end what the attack has started."""
    for loop in scene.loops:
        loop.kill()
        loop.wait()
    scene.loops.clear()
    machine = scene.machine
    machine.run("pkill", "-9", "-u", "simplesite", check=False)
    machine.run("pkill", "-9", "-f", "^sleep 999$", check=False)
    script = "chown root . bin releases; chmod 755 . releases; rm -rf var releases; "
    machine.run("sh", "-c", f"{script} cp -a kept/var kept/releases .")
    os.chown(held, 0, 0)


def said_of(scene, action):
    words = ["timeout", "--verbose", "120", "sh", "-c", action]
    return scene.machine.run(*words, check=False, net=BUILD not in action).stdout


@pytest.fixture(scope="module")
def peaceful(scene):
    """What is there before anything is done, and while a release is active."""
    current = scene.path / "current"
    found = {0: scene.machine.snapshot()}
    for number in (MOD_WSGI, EMBEDDED, PROXY):
        current.unlink()
        current.symlink_to(f"releases/{number}")
        scene.machine.pylonyard("activate")
        found[number] = scene.machine.snapshot()
        scene.machine.pylonyard("deactivate")
    return found


def harm(scene, peaceful, said):
    """Return what an action has done to what is root's; empty if nothing."""
    machine = scene.machine
    after = without_journal(machine.snapshot())
    # Of an activation that a person's own fault ends, nothing is left; either is right.
    differences = [difference(without_journal(s), after) for s in peaceful.values()]
    changed = "" if "" in differences else min(differences, key=len)
    return "\n".join(
        filter(
            None,
            [
                changed,
                "" if machine.owners("sleep 98765") == {"root"} else "a process of root's ended",
                "" if machine.owners("apache2 -k start") >= {"root"} else "Apache ended",
                f"it told: {said}" if PRECIOUS in said else "",
                "it hangs" if "timeout: sending signal" in said else "",
                *(f"{place} has it" for place in stolen(scene)),
            ],
        )
    )


def without_journal(state):
    """Leave out what tells when a release was activated."""
    return {name: value for name, value in state.items() if not name.startswith(JOURNAL)}


def stolen(scene):
    """Return the files of the sandbox, readable by the account, that have what is root's."""
    for place in scene.path.glob("releases/*/simplesite/production.ini"):
        if PRECIOUS in place.read_text():
            yield place


@pytest.fixture(scope="module")
def count():
    """Tell, at the end, how many attacks there were, and how many harmed nothing."""
    tried = {}
    yield tried
    good = sum(tried.values())
    print(f"\n{good} of {len(tried)} attacks harm nothing of root's")


@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_of_roots_is_harmed(scene, peaceful, count, name):
    attack = ATTACKS[name]
    current = scene.path / "current"
    current.unlink()
    current.symlink_to(f"releases/{attack.release}")
    held = module(scene)
    count[name] = False
    try:
        attack.plant(scene)
        for number, action in enumerate(attack.actions):
            said = said_of(scene, action)
            assert harm(scene, peaceful, said) == "", f"{action}: {said}"
            if attack.refused and number == 0:
                assert attack.refused in said
        count[name] = True
    finally:
        put_back(scene, held)
        with contextlib.suppress(AssertionError):
            scene.machine.pylonyard("deactivate")
        repair(scene, peaceful)


# A shell at a terminal, as root's; it is told what to run, and what is typed there then.
AT_A_TERMINAL = """
import os, pty, select, sys, time

child, terminal = pty.fork()
if child == 0:
    os.execv("/bin/sh", ["sh"])

def read_until(until, seconds=60):
    said, end = b"", time.monotonic() + seconds
    while until not in said and time.monotonic() < end:
        if select.select([terminal], [], [], 1)[0]:
            said += os.read(terminal, 1000)
    return said.decode(errors="replace")

read_until(b"# ", 5)
for until, words in zip(sys.argv[1::2], sys.argv[2::2]):
    os.write(terminal, (words + "\\n").encode())
    print(read_until(until.encode()))
"""
# Types into every terminal it can have, and ends before it could read that itself.
TYPES = (
    "import os,fcntl;"
    "[fcntl.ioctl(0, 0x5412, bytes([c])) for c in b' touch /etc/victim.d/typed\\n'];os._exit(0)"
)


def test_program_that_root_runs_cannot_type_into_roots_terminal(scene):
    current = scene.path / "current"
    current.unlink()
    current.symlink_to(f"releases/{PROXY}")
    steps = [">>> ", "bin/simplesite shell", "# ", TYPES, "over", "sleep 1; echo o''ver"]

    said = scene.machine.run("python3", "-c", AT_A_TERMINAL, *steps).stdout

    assert "pshell" in said or ">>>" in said, said
    assert "over" in said, said
    assert not scene.machine.path("/etc/victim.d/typed").exists(), said


def test_program_that_root_follows_has_a_terminal_of_its_own(scene):
    begun = "until pgrep -x tail >/dev/null; do sleep 0.1; done"
    watched = "ps -o tty= -C tail; tty; pkill tail"
    steps = ["over", f"({begun}; {watched}; echo o''ver) & bin/simplesite log"]

    said = scene.machine.run("python3", "-c", AT_A_TERMINAL, *steps).stdout

    terminals = [line.strip() for line in said.splitlines() if "pts/" in line]
    assert len(terminals) == 2, said
    assert not terminals[1].endswith(terminals[0]), said


def repair(scene, peaceful):
    """Undo what an attack that succeeded has done, so that the next is judged by itself."""
    machine = scene.machine
    machine.path("/etc/victim").unlink(missing_ok=True)
    machine.path("/etc/victim").write_text(PRECIOUS)
    machine.path("/etc/victim").chmod(0o600)
    after = machine.snapshot()
    for name in sorted(set(after) - set(peaceful[0]), reverse=True):
        place = machine.path("/" + name)
        if place.is_dir() and not place.is_symlink():
            place.rmdir()
        else:
            place.unlink()
