"""Every secret is a canary: after all commands were run, it is only where it belongs."""

import itertools
import os
import shutil
import stat
import subprocess
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from checkouts import CACHE, ROOT, Checkout, copy_checkout, fetch
from series import select_cases

pytestmark = pytest.mark.system


def canary(which: str) -> str:
    """Return what tells a secret; this very text, of which the sandbox has a copy, has none."""
    return f"canary{which}"


# Characters that an ini, a URL or a shell spells in another way, around what none does.
FROM_FILE = f"a%b/c {canary('file')} d"
FROM_VARIABLE = f"e$f\\g {canary('variable')} h"
NEW = canary("new")

CONFIG = """
[buildout]
extends = {base}
allow-picked-versions = true

{site}

[ini]
{template}
secrets +=
    canary-generated = generate
    canary-uuid = uuid
    database-password = file:{home}/database-password
    smtp-password = env:CANARY_SMTP_PASSWORD
settings +=
{section}
    canary.session = <secret:canary-generated>
    canary.cookie = <secret:app_instance_secret>
    canary.uuid = <secret:app_instance_uuid>
    canary.own_uuid = <secret:canary-uuid>
    canary.database = postgresql://shop:<secret:database-password:url>@localhost/shop
    canary.smtp = <secret:smtp-password>
"""

GUESTBOOK = """
[site]
name = guestbook
eggs = guestbook

[app]
sources = src/guestbook
"""


@dataclass
class Deployment:
    """A sandbox, its account's home, and what was said, shown and run meanwhile."""

    checkout: Checkout
    site: str
    home: Path
    umask: int
    port: int
    said: dict[str, str] = field(default_factory=dict)
    commands: set[bytes] = field(default_factory=set)
    environments: dict[bytes, bytes] = field(default_factory=dict)

    def run(self, what: str, *words: str, fails: bool = False, **more: str) -> str:
        """Run a command at the umask; keep what it said under the name ``what``."""
        script = f'umask {self.umask:03o}; exec "$@"'
        finished = subprocess.run(
            ["sh", "-c", script, "sh", *words],
            cwd=self.checkout.path,
            env={**self.checkout.environ, **more},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1200,
        )
        assert (finished.returncode != 0) == fails, f"{what}: {finished.stdout}"
        self.said[what] = finished.stdout
        return finished.stdout

    def secrets(self) -> dict[str, bytes]:
        """Return what tells each secret, as it is spelled in any syntax."""
        kept = self.checkout.path / "var/secrets" / self.site
        found = {path.name: path.read_bytes() for path in kept.iterdir()}
        return {
            **found,
            "database-password": canary("file").encode(),
            "smtp-password": canary("variable").encode(),
            "new-database-password": NEW.encode(),
        }


@contextmanager
def watched(deployment: Deployment) -> Iterator[None]:
    """Note the command line and the environment of every process that there is meanwhile."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.is_set():
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    command = process.joinpath("cmdline").read_bytes()
                    deployment.commands.add(command)
                    if str(deployment.checkout.path).encode() in command:
                        deployment.environments[command] = process.joinpath("environ").read_bytes()
                except OSError:
                    continue
            time.sleep(0.02)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def prepared(folder: Path, environ: dict[str, str], site: str, umask: int, port: int) -> Deployment:
    path, home, temporary = folder / "box", folder / "home", folder / "tmp"
    for each in (path, home, temporary):
        each.mkdir(parents=True)
    copy_checkout(path)
    # Its profile has settings of [app:main], which these follow.
    base, own, template, section = "staging.cfg", "", "", "    # canaries"
    if site == "guestbook":
        shutil.copytree(ROOT / "tests/apps/guestbook", path / "src/guestbook")
        base, own = "profiles/turbogears-2.5.cfg", GUESTBOOK
        template, section = "template = src/guestbook/production.ini.in", "    [app:main]"
    text = CONFIG.format(base=base, site=own, template=template, section=section, home=home)
    (path / "canary.cfg").write_text(text)
    (home / "database-password").write_text(FROM_FILE)
    (home / "database-password").chmod(0o600)
    variables = {**environ, "HOME": str(home), "TMPDIR": str(temporary)}
    return Deployment(Checkout(path, variables), site, home, umask, port)


def deployed(deployment: Deployment) -> None:
    """Run all commands: build, show, fail, serve, break, build again, pack, stop."""
    config = ["-c", "canary.cfg", f"site:port={deployment.port}", "release:unchecked=allow"]
    config += [] if os.geteuid() else ["site:environment=development"]
    smtp = {"CANARY_SMTP_PASSWORD": FROM_VARIABLE}
    buildout = ["bin/buildout", *config]
    deployment.run("bootstrap", deployment.checkout.python, "bootstrap.py", *config, **smtp)
    deployment.run("nothing to do", *buildout)
    deployment.run("-vv", *buildout, "-vv", **smtp)
    deployment.run("annotate", *buildout, "annotate")
    deployment.run("annotate -vv", *buildout, "-vv", "annotate")
    for option in ("settings", "secrets", "recipe"):
        deployment.run(f"query {option}", *buildout, "query", f"ini:{option}")
    source = deployment.home / "database-password"
    source.write_bytes(canary("file").encode() + b" \xff")
    deployment.run("no UTF-8", *buildout, "-vv", "-D", fails=True)
    source.write_text(FROM_FILE)
    lines = {"CANARY_SMTP_PASSWORD": f"{FROM_VARIABLE}\nof two lines"}
    deployment.run("two lines", *buildout, "-vv", "-D", fails=True, **lines)
    deployment.run("one line", *buildout, **smtp)
    deployment.run("refused ini", *buildout, "-vv", "-D", "ini:server=egg:Nothing#here", fails=True)
    database = "ini:database-url=nonsense:<secret:database-password>"
    deployment.run("setup-app fails", *buildout, "-D", database, fails=True)
    deployment.run("as it was", *buildout)
    deployment.run("start", f"bin/{deployment.site}", "start")
    _requests(deployment)
    source.write_text(NEW)
    deployment.run("another release", *buildout, **smtp)
    numbers = sorted(int(p.name) for p in (deployment.checkout.path / "releases").glob("[0-9]*"))
    deployment.run("restart", f"bin/{deployment.site}", "restart")
    deployment.run("status", f"bin/{deployment.site}", "status")
    deployment.run("releases", "bin/pylonyard", "releases")
    pair = [str(number) for number in (numbers[0], numbers[-1])]
    difference = deployment.run("releases diff", "bin/pylonyard", "releases", "diff", *pair)
    assert "canary.database" in difference
    _without_status(deployment, "doctor", "bin/pylonyard", "doctor")
    _without_status(deployment, "doctor --json", "bin/pylonyard", "doctor", "--json")
    _without_status(deployment, "log", "timeout", "2", f"bin/{deployment.site}", "log")
    deployment.run("rollback", "bin/pylonyard", "rollback")
    # Only what is locked can be packed.
    pack = ["bin/pylonyard", "bundle", str(deployment.home / "packed.tar.gz")]
    deployment.run("bundle", *pack, fails=deployment.site == "guestbook")
    deployment.run("stop", f"bin/{deployment.site}", "stop")


def _without_status(deployment: Deployment, what: str, *words: str) -> None:
    deployment.run(what, "sh", "-c", '"$@" || true', "sh", *words)


def _requests(deployment: Deployment) -> None:
    url = f"http://127.0.0.1:{deployment.port}"
    for path in ("/", "/nowhere", "/?%ff=%00"):
        status, text = fetch(url + path)
        deployment.said[f"GET {path} {status}"] = text
    # An application that goes wrong tells of it in its log, and shows an error page.
    for database in (deployment.checkout.path / "var/data").rglob("*.db"):
        kept = database.read_bytes()
        database.write_bytes(b"this is no database" * 1000)
        status, text = fetch(f"{url}/")
        deployment.said[f"error page {status}"] = text
        assert status == 500
        database.write_bytes(kept)


def secrets_in(content: bytes, secrets: dict[str, bytes]) -> list[str]:
    return [name for name, secret in secrets.items() if secret in content]


def members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield a file's name and content; of an archive, each member's as well."""
    yield str(path), path.read_bytes()
    if tarfile.is_tarfile(path):
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isfile():
                    stream = archive.extractfile(member)
                    yield f"{path}!{member.name}", stream.read() if stream else b""
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as pack:
            for name in pack.namelist():
                yield f"{path}!{name}", pack.read(name)


def is_needed(place: str, deployment: Deployment) -> bool:
    """Return whether a file is one of those that are there to hold secrets."""
    relative = place.removeprefix(f"{deployment.checkout.path}/")
    ini = f"{deployment.site}/production.ini"
    return (
        relative.startswith(f"var/secrets/{deployment.site}/")
        or (relative.startswith(("releases/", "parts/")) and relative.endswith(ini))
        or place == f"{deployment.home}/database-password"
    )


@pytest.mark.parametrize(
    ("site", "umask"),
    select_cases(
        [("simplesite", 0o000), ("guestbook", 0o077)],
        itertools.product(["simplesite", "guestbook"], [0o000, 0o022, 0o077]),
    ),
)
def test_secrets_are_in_the_files_that_need_them_alone(
    tmp_path, clean_environ, free_port, site, umask
):
    deployment = prepared(tmp_path, clean_environ, site, umask, free_port())
    began = time.time() - 2
    try:
        with watched(deployment):
            deployed(deployment)
    finally:
        if (deployment.checkout.path / "bin" / site).exists():
            deployment.checkout.run(f"bin/{site}", "stop", check=False)
    secrets = deployment.secrets()

    found, seen = {}, 0
    shared = [p for p in CACHE.rglob("*") if p.lstat().st_ctime > began]
    for path in [*tmp_path.rglob("*"), *shared]:
        if not path.is_symlink() and path.is_file():
            for name, content in members(path):
                seen += 1
                if names := secrets_in(content, secrets):
                    found[name] = names

    needed = {place: names for place, names in found.items() if is_needed(place, deployment)}
    modes = {oct(stat.S_IMODE(os.stat(place).st_mode)) for place in needed}
    figures = (
        f"{site}, umask {umask:03o}: {len(secrets)} canaries in {len(needed)} files of modes "
        f"{', '.join(sorted(modes))}; {len(found) - len(needed)} of {seen} others; "
        f"{len(deployment.said)} outputs, {len(deployment.commands)} command lines, "
        f"{len(deployment.environments)} environments have none"
    )
    assert {place: names for place, names in found.items() if place not in needed} == {}
    assert {what: secrets_in(said.encode(), secrets) for what, said in deployment.said.items()} == {
        what: [] for what in deployment.said
    }
    assert [command for command in deployment.commands if secrets_in(command, secrets)] == []
    assert modes <= {"0o600", "0o640"}
    # Every canary has flown: the test would find it.
    assert {name for names in needed.values() for name in names} == set(secrets)
    del secrets["smtp-password"]  # a variable of the run's own, given to that run
    assert [c for c, text in deployment.environments.items() if secrets_in(text, secrets)] == []
    served = [c for c in deployment.environments if b"serve" in c]
    assert served
    variable = canary("variable").encode()
    assert not any(variable in deployment.environments[c] for c in served)
    print(figures)
