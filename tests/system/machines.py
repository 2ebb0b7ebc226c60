"""A scratch machine: a copy of ``/etc``, an Apache of its own, a pid namespace.

Whatever is started or killed, and whatever is mounted, is inside the namespace.  Memory,
network and the rest of /proc are this machine's own.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkouts import Checkout
from namespaces import UNSHARE, entering, require_namespace
from ports import free_port

NEEDED = [
    pytest.mark.system,
    pytest.mark.skipif(os.geteuid() != 0, reason="lacks root, whose files these are"),
    pytest.mark.skipif(not shutil.which("a2enmod"), reason="lacks Apache"),
]
"""The marks of tests on a machine."""

ENVVARS = """
export APACHE_PID_FILE={root}/run/apache2.pid
export APACHE_RUN_DIR={root}/run
export APACHE_LOCK_DIR={root}/lock
export APACHE_LOG_DIR={root}/log
"""


class Machine:
    """Folders as on a Debian machine, below ``root``; its Apache listens on ``port``."""

    def __init__(self, root: Path, checkout: Checkout, port: int, site_port: int) -> None:
        self.root = root
        self.checkout = checkout
        self.site_port = site_port
        self.bin = "bin/pylonyard"
        etc = root / "etc"
        shutil.copytree("/etc/apache2", etc / "apache2", symlinks=True)
        for name in ("run", "lock", "log", "var/lib/apache2"):
            (root / name).mkdir(parents=True)
        for name in ("init.d", "cron.d", "logrotate.d", *(f"rc{n}.d" for n in "0123456")):
            (etc / name).mkdir()
        for name in ("passwd", "group", "gshadow"):
            shutil.copy2(f"/etc/{name}", etc / name)
        (etc / "apache2/ports.conf").write_text(f"Listen 127.0.0.1:{port}\n")
        (etc / "apache2/conf-available/name.conf").write_text("ServerName localhost\n")
        (etc / "apache2/conf-enabled/name.conf").symlink_to("../conf-available/name.conf")
        (etc / "apache2/sites-enabled/000-default.conf").unlink(missing_ok=True)
        with open(etc / "apache2/envvars", "a") as stream:
            stream.write(ENVVARS.format(root=root))
        require_namespace(UNSHARE)
        self.namespace = subprocess.Popen([*UNSHARE, "sleep", "infinity"])
        self.inside = self._first_child()

    def _first_child(self) -> str:
        own = self.namespace.pid
        for _ in range(500):
            with contextlib.suppress(OSError):
                text = Path(f"/proc/{own}/task/{own}/children").read_text().split()
                if text and Path(f"/proc/{text[0]}/comm").read_text() == "sleep\n":
                    return text[0]
            time.sleep(0.01)
        raise AssertionError("no namespace")

    def end(self) -> None:
        self.namespace.kill()
        self.namespace.wait()

    @property
    def enter(self) -> list[str]:
        """Return the words that run a command in the namespace, in the checkout's folder."""
        place = f"--wd={self.checkout.path}"
        return [*entering(self.inside, "--pid", "--mount"), place, "--"]

    def run(self, *words: object, **more: object) -> "subprocess.CompletedProcess[str]":
        """Run a command in the namespace; what it printed is in ``stdout``, all of it."""
        environ = {k: v for k, v in os.environ.items() if not k.startswith("SUDO")}
        return subprocess.run(
            [*self.enter, *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            env={**environ, **more},
        )

    def sh(self, script: str) -> str:
        finished = self.run("sh", "-ec", script)
        assert finished.returncode == 0, finished.stdout
        return finished.stdout

    def pylonyard(self, *words: object) -> "subprocess.CompletedProcess[str]":
        return self.run(self.bin, *words, "--root", self.root)

    def activate(self, *words: object) -> str:
        finished = self.pylonyard("activate", *words)
        assert finished.returncode == 0, finished.stdout
        return finished.stdout

    def deactivate(self) -> str:
        finished = self.pylonyard("deactivate")
        assert finished.returncode == 0, finished.stdout
        return finished.stdout

    def a2(self, *words: str) -> None:
        self.sh(
            f"APACHE_CONFDIR={self.root}/etc/apache2 "
            f"APACHE_STATE_DIRECTORY={self.root}/var/lib/apache2 {' '.join(words)}"
        )

    def type(self, line: str) -> None:
        """Type a line of advice as it stands, on a machine that is the whole one to it."""
        etc = f"{self.root}/etc/apache2"
        # What goes by ``/`` elsewhere is told of the tree here.
        line = line.replace("bin/pylonyard activate", f"bin/pylonyard activate --root {self.root}")
        line = line.replace("service apache2 reload", "apache2ctl graceful")
        line = line.replace("service apache2 restart", "apache2ctl restart")
        state = f"APACHE_STATE_DIRECTORY={self.root}/var/lib/apache2"
        self.sh(f"export APACHE_CONFDIR={etc} {state}\n{line}")

    def httpd(self, action: str) -> None:
        self.sh(f"APACHE_CONFDIR={self.root}/etc/apache2 apache2ctl {action}")
        pid_file = self.root / "run/apache2.pid"
        for _ in range(200):
            if pid_file.exists() == (action != "stop"):
                return
            time.sleep(0.05)
        raise AssertionError(f"Apache did not {action}")

    def path(self, name: str) -> Path:
        return self.root / name.lstrip("/")

    def snapshot(self) -> dict[str, tuple[object, ...]]:
        """Return all of ``/etc`` and ``/var/lib``: bytes, modes, owners, links."""
        found: dict[str, tuple[object, ...]] = {}
        for top in ("etc", "var"):
            for path in sorted((self.root / top).rglob("*")):
                status = path.lstat()
                content: object = None
                if path.is_symlink():
                    content = os.readlink(path)
                elif path.is_file():
                    content = path.read_bytes()
                name = str(path.relative_to(self.root))
                found[name] = (status.st_mode, status.st_uid, status.st_gid, content)
        return found


@contextlib.contextmanager
def released(path: Path, environ: dict[str, str], *own: str) -> Iterator[tuple[Checkout, int]]:
    """Give a checkout with a release for Apache, and the port that Apache gives it.

    :param own: words for ``bin/buildout`` besides, such as an account that can enter ``path``
    """
    from checkouts import copy_checkout

    path.mkdir(parents=True)
    copy_checkout(path)
    path.chmod(0o755)
    python = "/usr/bin/python3" if own else sys.executable
    checkout = Checkout(path, environ, python=python)
    port = free_port()
    words = ["vhost:listen=127.0.0.1", f"vhost:listen-port={port}", f"site:port={free_port()}"]
    # Root's own account serves in development alone.
    checkout.bootstrap("-c", "staging.cfg", *(own or ("site:environment=development",)), *words)
    yield checkout, port
