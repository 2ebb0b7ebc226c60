"""A bare Debian machine in a folder: what debootstrap makes, and an ordinary user.

It has process, mount, network, host name and IPC namespaces of its own, an own root
(pivot_root), and an own database of users; it ends with the ``with`` statement::

    with bare_debian.machine(13) as debian:
        home = debian.clone("/home/somebody/pylonyard", user="somebody")
        debian.type("python3 bootstrap.py\nbin/simplesite start", user="somebody", folder=home)
        status, page = debian.visit("http://127.0.0.1:8080/")
        debian.type("apt-get install --yes apache2")     # as root, in /root

``type`` takes lines as somebody types them, in one bash that stops at the first that
fails; what they print is returned.  ``clone`` brings this checkout in by git, with
its uncommitted changes.  ``path`` returns the path outside of a file of the machine.
Services are not started by apt-get, as in a container: there is
no init.  ``debian.let_services_start()`` has it start them.

The base that debootstrap makes is kept and never changed: a machine is a layer over
it, gone when it ends.  Needs root, debootstrap and slirp4netns; ``Lacking`` tells.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from fresh_checkout import ROOT, copy_checkout

sys.path.insert(0, str(ROOT / "recipes"))
from pylonyard.system import atomic

RELEASES = {12: "bookworm", 13: "trixie"}
PACKAGES = ("python3", "python3-venv", "git", "curl")
"""The packages that README asks for; minbase has the rest."""

ARCHIVES = "/var/cache/apt/archives"
HURRY = "force-unsafe-io\npath-exclude=/usr/share/doc/*\npath-exclude=/usr/share/man/*\n"

USER = "somebody"
FOLDER = ROOT / ".pytest_cache" / "bare-debian"
MIRROR = "http://deb.debian.org/debian"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
PROGRAMS = ("debootstrap", "slirp4netns", "unshare", "nsenter", "setpriv", "pivot_root", "git")

# What the network is like, not the machine.
PASSED = (
    *(f"{scheme}_proxy" for scheme in ("http", "https", "no", "all")),
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_PROXY"),
    *("PIP_DEFAULT_TIMEOUT", "PIP_CERT"),
)

# No init comes with it: process 1 is a Python that reaps processes.
START = """
umask 022
mount --make-rprivate /
layers="lowerdir={base},upperdir={own}/upper,workdir={own}/work"
if ! mount -t overlay overlay -o "$layers" {own}/root 2> /dev/null; then
    # In a container, whose own root is such a layer: no layer is made of that.
    mount -t tmpfs -o mode=755 tmpfs {own}
    mkdir {own}/upper {own}/work {own}/root
    mount -t overlay overlay -o "$layers" {own}/root
fi
cd {own}/root
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs dev
mount -t tmpfs -o mode=755 tmpfs run
mkdir -m 1777 run/lock dev/shm
mkdir dev/pts
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mknod -m 666 dev/null c 1 3
mknod -m 666 dev/zero c 1 5
mknod -m 666 dev/full c 1 7
mknod -m 666 dev/random c 1 8
mknod -m 666 dev/urandom c 1 9
mknod -m 666 dev/tty c 5 0
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
hostname {name}
pivot_root . mnt
cd /
umount -l mnt
echo ready
exec /usr/bin/python3 -ISc '
import os, time
os.closerange(1, 3)
while True:
    try:
        os.wait()
    except ChildProcessError:
        time.sleep(0.05)
'
"""

# What comes with iproute2, which the machine does not have: ip link set lo up.
LOOPBACK = """
import fcntl, os, socket, struct, sys
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any:
    fcntl.ioctl(any, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", IFF_UP))
os.execvp(sys.argv[1], sys.argv[1:])
"""


class Lacking(Exception):
    """This machine cannot make another; the text says what is missing."""


class CommandFailed(Exception):
    """A typed command failed; the text has its output."""


def need() -> None:
    """Raise Lacking if no bare machine can be made here."""
    if os.geteuid():
        raise Lacking("lacks root, who alone may make a machine")
    for program in PROGRAMS:
        if not shutil.which(program):
            raise Lacking(f"lacks {program}")
    tried = subprocess.run(["unshare", "-mpfnui", "true"], capture_output=True, text=True)
    if tried.returncode:
        raise Lacking(f"lacks namespaces: {tried.stderr.strip()}")
    if not Path("/dev/net/tun").exists():
        raise Lacking("lacks /dev/net/tun, for a network")


def mirror() -> str:
    """Return the mirror that apt of this machine takes Debian from, or Debian's own."""
    printed = ""
    if shutil.which("apt-get"):
        wanted = ["apt-get", "indextargets", "--format", "$(SITE) $(ORIGIN) $(LABEL)"]
        printed = subprocess.run(wanted, capture_output=True, text=True).stdout
    for line in printed.splitlines():
        address, _, label = line.partition(" ")
        if label == "Debian Debian":
            return address.rstrip("/")
    return MIRROR


@dataclasses.dataclass
class Debian:
    """A machine that runs."""

    root: Path
    """Its root folder, as seen from outside while it runs."""

    enter: tuple[str, ...]
    """The words before a command that root runs in it."""

    environ: Mapping[str, str]
    """What everybody has in the environment: how the network is."""

    shows: bool = False
    """True if all that is typed, and printed, goes to standard output as well."""

    def path(self, name: str) -> Path:
        return self.root / name.lstrip("/")

    def type(
        self,
        lines: str,
        user: str = "root",
        folder: str | None = None,
        check: bool = True,
        timeout: float = 3600,
        **environ: str,
    ) -> "subprocess.CompletedProcess[str]":
        """Run lines in a bash that stops at the first that fails.

        :param folder: where; the user's home if not given
        :param timeout: seconds
        :raises CommandFailed: if one failed, with all that was printed; not without ``check``
        """
        command = [*self.enter, *self._account(user, environ), "bash", "-ec"]
        command += [f'cd "${{0:-$HOME}}"\n{lines}', folder or ""]
        # A server may keep what it was started with open: no pipe.
        with tempfile.TemporaryFile("w+") as printed:
            finished = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=None if self.shows else printed,
                stderr=subprocess.STDOUT,
                timeout=timeout,
            )
            printed.seek(0)
            text = printed.read()
        if check and finished.returncode:
            raise CommandFailed(f"{user}: {lines.strip()}\nexited {finished.returncode}:\n{text}")
        return subprocess.CompletedProcess(command, finished.returncode, text)

    def _account(self, user: str, environ: Mapping[str, str]) -> list[str]:
        """Return the words that make root ``user``, as one who has logged in."""
        home = "/root" if user == "root" else f"/home/{user}"
        path = "/usr/local/bin:/usr/bin:/bin"
        if user == "root":
            path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        own = {"HOME": home, "USER": user, "LOGNAME": user, "SHELL": "/bin/bash", "PATH": path}
        everything = {**self.environ, **own, "LANG": "C.UTF-8", "TERM": "dumb", **environ}
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        words = [f"{name}={value}" for name, value in everything.items()]
        return [*([] if user == "root" else become), "env", "-i", *words]

    def visit(self, url: str, host: str | None = None) -> tuple[int, str]:
        """Return the status and the text of an answer; 0 and curl's message if there is none.

        :param host: what the request names, if not the host of ``url``
        """
        words = ["curl", "-sS", "-m", "30", "-w", "\n%{http_code}", url]
        words += ["-H", f"Host: {host}"] if host else []
        silent = dataclasses.replace(self, shows=False)
        printed = silent.type(shlex.join(words), check=False).stdout
        text, _, status = printed.rpartition("\n")
        return int(status), text

    def clone(self, target: str, user: str = "root") -> str:
        """Clone this checkout, uncommitted changes included; return the path."""
        bundle = self.path("/usr/src/pylonyard.bundle")
        if not bundle.exists():
            _bundle(bundle)
        words = ["git", "-c", "init.defaultBranch=main", "clone", "--quiet"]
        self.type(shlex.join([*words, "/usr/src/pylonyard.bundle", target]), user)
        return target

    def speed_up_apt(self, archives: Path) -> None:
        """Make apt-get fast: it need not write to the disk, since the machine is temporary.

        :param archives: where the packages are that :meth:`keep_archives` kept
        """
        self.path("/etc/dpkg/dpkg.cfg.d/hurry").write_text(HURRY)
        self.path("/usr/bin/mandb").unlink(missing_ok=True)
        if archives.is_dir():
            shutil.copytree(archives, self.path(ARCHIVES), dirs_exist_ok=True)

    def keep_archives(self, archives: Path) -> None:
        """Keep the packages that were downloaded, for the next machine."""
        archives.mkdir(parents=True, exist_ok=True)
        for package in self.path(ARCHIVES).glob("*.deb"):
            if not (archives / package.name).exists():
                draft = archives / f".{package.name}.{os.getpid()}"
                shutil.copyfile(package, draft)
                draft.rename(archives / package.name)

    def without_network(self) -> "Debian":
        """Return this machine with no network but a loopback, which is new for each ``type``."""
        alone = ("unshare", "--net", "python3", "-ISc", LOOPBACK)
        return dataclasses.replace(self, enter=(*self.enter, *alone))

    def let_services_start(self) -> None:
        """Let apt-get start the services that it installs, by their init scripts."""
        self.path("/usr/sbin/policy-rc.d").unlink(missing_ok=True)


def _bundle(target: Path) -> None:
    """Write all that git has, or would have, of this checkout as one commit into a bundle."""
    with tempfile.TemporaryDirectory() as name:
        copy_checkout(Path(name))
        git = ["git", "-C", name, "-c", "user.name=nobody", "-c", "user.email=nobody@localhost"]
        for words in (
            ["init", "--quiet", "--initial-branch=main"],
            ["add", "--all", "--force"],
            ["commit", "--quiet", "--message", "As it stands"],
            ["bundle", "create", "--quiet", str(target), "HEAD", "main"],
        ):
            subprocess.run([*git, *words], check=True)


def base(release: int, folder: Path = FOLDER, source: str = "") -> Path:
    """Return the folder of a bare Debian, which debootstrap makes once; that takes minutes.

    :param source: the mirror; that of this machine's apt if not given
    :raises Lacking: if it cannot be made
    """
    source = source or mirror()
    key = hashlib.sha256(" ".join([source, *PACKAGES, ACCOUNT]).encode()).hexdigest()[:8]
    target = folder / f"{release}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f"{release}.lock", "w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not target.exists():
            print(f"debootstrap: Debian {release} from {source} into {target}", flush=True)
            with atomic.draft(folder / "drafts") as draft:
                _debootstrap(RELEASES[release], draft / "root", source)
                (draft / "root").rename(target)
    return target


# As a container's: there is no init that a package could have its service started by.
ACCOUNT = f"""
useradd --create-home --shell /bin/bash {USER}
printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
printf '127.0.0.1 localhost\\n::1 localhost\\n127.0.1.1 bare\\n' > /etc/hosts
echo bare > /etc/hostname
apt-get clean
"""


def _debootstrap(suite: str, target: Path, source: str) -> None:
    # Killed with all that it started and mounted, should somebody end us.
    command = ["unshare", "-mpf", "--kill-child", "--mount-proc"]
    command += ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
    made = subprocess.run([*command, suite, str(target), source], capture_output=True, text=True)
    if made.returncode:
        last = (made.stdout + made.stderr).strip().splitlines()[-1:]
        raise Lacking(f"lacks a Debian {suite}: debootstrap says: {' '.join(last)}")
    subprocess.run(["chroot", str(target), "sh", "-euc", ACCOUNT], check=True)


@contextlib.contextmanager
def machine(
    release: int = 13, folder: Path = FOLDER, source: str = "", shows: bool = False
) -> Iterator[Debian]:
    """Give a bare machine that runs; all that was done in it is gone afterwards.

    :param release: 12 or 13
    :param folder: where bases are kept, and the machine's own files while it runs
    :param source: the mirror of Debian; that of this machine's apt if not given
    :raises Lacking: if this machine cannot make it
    """
    need()
    lower = base(release, folder, source)
    with contextlib.ExitStack() as ending:
        own = ending.enter_context(atomic.draft(folder / "drafts"))
        own.chmod(0o755)
        for name in ("upper", "work", "root"):
            (own / name).mkdir(mode=0o755)
        script = START.format(base=lower, own=own, name="bare")
        # Nobody may be left of it when this process is killed.
        command = ["setpriv", "--pdeathsig", "KILL", "unshare", "-mpfnui", "--kill-child"]
        command += ["sh", "-euc", script]
        keeper = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        ending.callback(_end, keeper)
        assert keeper.stdout is not None
        if keeper.stdout.readline() != "ready\n":
            raise Lacking("lacks what a machine needs; see the message above")
        inside = Path(f"/proc/{keeper.pid}/task/{keeper.pid}/children").read_text().split()[0]
        ending.enter_context(_network(inside))
        enter = ("nsenter", "-t", inside, "-m", "-p", "-n", "-u", "-i", "--root", "--wd", "--")
        names = {*PASSED, *map(str.upper, PASSED)}
        environ = {name: text for name, text in os.environ.items() if name in names}
        debian = Debian(Path(f"/proc/{inside}/root"), enter, environ, shows)
        _connect(debian)
        yield debian


def _end(keeper: "subprocess.Popen[str]") -> None:
    keeper.kill()
    keeper.wait()
    if keeper.stdout:
        keeper.stdout.close()


@contextlib.contextmanager
def _network(inside: str) -> Iterator[None]:
    """Give the machine a network of its own, which reaches others but not this loopback."""
    ready, output = os.pipe()
    stop, held = os.pipe()
    command = ["slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback"]
    command += [f"--ready-fd={output}", f"--exit-fd={stop}", inside, "tap0"]
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, pass_fds=(output, stop), stdout=said, stderr=said)
        os.close(output)
        os.close(stop)
        try:
            if not os.read(ready, 1):
                said.seek(0)
                raise Lacking(f"lacks a network: slirp4netns says: {said.read().strip()}")
            yield
        finally:
            os.close(ready)
            os.close(held)
            process.wait()


def _connect(debian: Debian) -> None:
    """Copy the name server and the certificates of this machine to the bare one."""
    debian.path("/etc/resolv.conf").write_text("nameserver 10.0.2.3\n")
    if CERTIFICATES.exists():
        shutil.copyfile(CERTIFICATES, debian.path(str(CERTIFICATES)))
    if Path("/etc/pip.conf").exists():
        shutil.copyfile("/etc/pip.conf", debian.path("/etc/pip.conf"))
