"""The machine itself, in namespaces: what is done to ``/etc`` is done to a layer over it.

Mounts, processes and network are the namespace's own, and gone with it.  Debian's own
Apache, its init script and its tools are what runs.
"""

import hashlib
import os
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from checkouts import Checkout, copy_checkout
from namespaces import entering, require_namespace

APART = ["unshare", "--pid", "--fork", "--mount", "--net", "--kill-child"]
TOPS = ("etc", "var", "root", "usr/local", "lib/systemd")
IGNORED = ("var/log/apache2", "var/cache")
"""Apache's own logs, and caches."""

UID = 787
"""Of the account ``simplesite``, which the namespace alone has."""

# Layers over what an activation, or Apache, changes; the ends of an account's tools.
SETUP = """
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs {layers}
mkdir {layers}/upper
for name in {tops}; do
    mkdir -p {layers}/upper/$name {layers}/work/$name
    mount -t overlay overlay -o \\
        lowerdir=/$name,upperdir={layers}/upper/$name,workdir={layers}/work/$name /$name
done
mount -t tmpfs tmpfs /run
mkdir /run/lock
ip link set lo up
groupadd --system --gid {uid} simplesite
useradd --system --uid {uid} --gid {uid} --home-dir /nonexistent --no-create-home simplesite
echo ServerName localhost > /etc/apache2/conf-enabled/name.conf
exec /usr/bin/python3 -Sc '{reaper}'
"""

# Process 1: it collects processes that have ended, as on a machine.
REAPER = """
import os, time
while True:
    try:
        os.wait()
    except ChildProcessError:
        time.sleep(0.05)
"""


class RealMachine:
    """``/`` as activation sees it, the layers over it; ``checkout`` has the release."""

    def __init__(self, checkout: Checkout, layers: Path) -> None:
        require_namespace(APART)
        self.checkout = checkout
        layers.mkdir()
        script = SETUP.format(layers=layers, uid=UID, reaper=REAPER, tops=" ".join(TOPS))
        self.namespace = subprocess.Popen([*APART, "sh", "-euc", script])
        self.inside = self._ready()
        self.root = Path(f"/proc/{self.inside}/root")
        self.upper = self.path(str(layers)) / "upper"

    def _ready(self) -> str:
        own = self.namespace.pid
        for _ in range(1000):
            with suppress(OSError):
                text = Path(f"/proc/{own}/task/{own}/children").read_text().split()
                if text and Path(f"/proc/{text[0]}/comm").read_text() == "python3\n":
                    return text[0]
            assert self.namespace.poll() is None, "no namespace"
            time.sleep(0.01)
        raise AssertionError("no namespace")

    def end(self) -> None:
        self.namespace.kill()
        self.namespace.wait()

    def run(
        self, *words: object, user: str = "root", net: bool = True, check: bool = True, **more: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command in the namespace; what it printed is in ``stdout``, all of it.

        :param net: whether in its network too, which has no more than loopback
        """
        namespaces = ["--pid", "--mount", *(["--net"] if net else [])]
        enter = [*entering(self.inside, *namespaces), f"--wd={self.checkout.path}", "--"]
        if user != "root":
            enter += ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        environ = {k: v for k, v in self.checkout.environ.items() if not k.startswith("SUDO")}
        finished = subprocess.run(
            [*enter, *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            env={**environ, **more},
        )
        assert not check or finished.returncode == 0, f"{words}: {finished.stdout}"
        return finished

    def pylonyard(self, *words: object, check: bool = True) -> str:
        return self.run("bin/pylonyard", *words, check=check).stdout

    def visit(self, path: str = "/", *words: str) -> str:
        """Return the status of an answer on port 80; 000 if there is none."""
        command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-m", "20", *words]
        url = f"http://127.0.0.1{path}"
        return self.run(*command, "-H", "Host: www.example.org", url, check=False).stdout

    def owners(self, pattern: str) -> set[str]:
        """Return the accounts that run processes of a name."""
        listed = self.run("ps", "-wweo", "user:20,args").stdout.splitlines()
        return {line.split()[0] for line in listed if pattern in line and " -wweo " not in line}

    def path(self, name: str) -> Path:
        return self.root / name.lstrip("/")

    def snapshot(self) -> dict[str, tuple[object, ...]]:
        """Return all that differs from the machine below: content, modes, owners, links."""
        found: dict[str, tuple[object, ...]] = {}
        for path in sorted(self.upper.rglob("*")):
            name = str(path.relative_to(self.upper))
            now, below = _state(self.root / name), _state(Path("/", name))
            if now != below and not name.startswith(IGNORED):
                found[name] = now
        return found


def _state(path: Path) -> tuple[object, ...]:
    try:
        status = path.lstat()
    except OSError:
        return ("absent",)
    content: object = None
    if path.is_symlink():
        content = os.readlink(path)
    elif path.is_file():
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    return (status.st_mode, status.st_uid, status.st_gid, content)


def difference(before: dict[str, tuple[object, ...]], after: dict[str, tuple[object, ...]]) -> str:
    """Return what differs between two snapshots; empty if nothing does."""
    names = sorted({*before, *after})
    return "\n".join(
        f"{name}: {before.get(name)} -> {after.get(name)}"
        for name in names
        if before.get(name) != after.get(name)
    )


@contextmanager
def real_machine(folder: Path, environ: dict[str, str], *words: str):
    """Give a machine, and in it a sandbox of root's with a release of ``simplesite``.

    :param folder: every account can enter it
    :param words: for ``bin/buildout``; mod_wsgi and the like
    """
    path = Path(tempfile.mkdtemp(prefix="r", dir=folder))
    path.chmod(0o755)
    (path / "box").mkdir()
    copy_checkout(path / "box")
    checkout = Checkout(path / "box", environ, python="/usr/bin/python3")
    machine = RealMachine(checkout, path / "layers")
    try:
        config = ["-c", "production.cfg", "site:port=8080", *words]
        machine.run(checkout.python, "bootstrap.py", *config, net=False)
        yield machine
    finally:
        machine.end()
