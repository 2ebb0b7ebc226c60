"""Check that accounts can read the code and write the data, and that the secrets are private.

``Access`` finds what an account cannot read, write or enter, and the command that permits it.
"""

import os
import shlex
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pylonyard.commands.doctor.check import Finding, Subject, bad, good, unknown
from pylonyard.config.layout import REAL_SERVER, page
from pylonyard.server.status import intent_file, lock_file
from pylonyard.system import accounts
from pylonyard.system.rootfs import Account, Permissions, bits_of
from pylonyard.system.safe_files import read_plainly

LOST_AND_FOUND = "lost+found"
"""A folder that a file system makes for itself."""


READ, WRITE, SEARCH = 4, 2, 1
MOST_FILES = 20000
"""Files that are checked, of the code or of one folder of the data."""

Skip = Callable[[Path], bool]


@dataclass(frozen=True)
class Obstacle:
    """An action that an account cannot do, such as ``read /x``, and the advice."""

    what: str
    advice: str


class Access:
    """The access of the account ``who``; each folder on the way is checked once."""

    def __init__(self, who: Account) -> None:
        self.who = who
        self.files_left = MOST_FILES
        self.is_incomplete = False
        """True if there were more files than ``MOST_FILES`` files."""
        self._passed: set[Path] = set()

    def may(self, path: Path, bits: int, status: os.stat_result | None = None) -> bool:
        status = status or path.stat()
        folder = Permissions(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
        return bits & ~bits_of(self.who, folder) == 0

    def closed_folders(self, path: Path) -> Iterator[Obstacle]:
        """Yield each folder above ``path``, a path without links, that cannot be entered."""
        for folder in reversed(path.parents):
            if folder not in self._passed and not self.may(folder, SEARCH):
                yield Obstacle(f"enter {folder}", self.chmod_command(folder, "x"))
            self._passed.add(folder)

    def read_obstacles(self, path: Path, *, only_pass: bool = False) -> Iterator[Obstacle]:
        """Yield the obstacles to reading ``path``.

        :raises PermissionError: if we may not look ourselves
        """
        try:
            real = path.resolve(strict=True)
        except PermissionError:
            raise
        except OSError as error:
            yield Obstacle(f"read {path}: {error.strerror}", "bin/buildout")
            return
        yield from self.closed_folders(real)
        if not only_pass and not self.may(real, READ):
            yield Obstacle(f"read {real}", self.chmod_command(real, "r"))

    def read_obstacles_below(self, top: Path, skip: Skip) -> Iterator[Obstacle]:
        """Yield the obstacles to reading ``top``, a file or a folder with all in it."""
        for path, status in self._below(top, skip):
            is_folder = stat.S_ISDIR(status.st_mode)
            if not self.may(path, READ | SEARCH if is_folder else READ, status):
                letters = "rX" if is_folder else "r"
                yield Obstacle(f"read {path}", self.chmod_command(path, letters, whole=is_folder))

    def write_obstacles_below(self, top: Path, bits: int, skip: Skip) -> Iterator[tuple[Path, str]]:
        """Yield each path below ``top`` that cannot be written or read, and ``write`` or ``read``.

        The account's own files in subfolders may be read-only on purpose.

        :param bits: what files need; a folder needs all
        """
        for path, status in self._below(top, skip):
            wanted = bits
            if stat.S_ISDIR(status.st_mode):
                wanted = READ | WRITE | SEARCH
            elif status.st_uid == self.who.uid and path.parent != top:
                wanted = READ
            is_plain = stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)
            if is_plain and not self.may(path, wanted, status):
                yield path, "write" if wanted & WRITE else "read"

    def _below(self, top: Path, skip: Skip) -> Iterator[tuple[Path, os.stat_result]]:
        for found in walk(top, skip):
            if not self.files_left:
                self.is_incomplete = True
                return
            self.files_left -= 1
            yield found

    def chmod_command(self, path: Path, letters: str, *, whole: bool = False) -> str:
        """Return the command that gives ``who`` the permissions ``letters`` on ``path``.

        For a home folder there is no command: it stays closed.

        :param whole: also on all that is in it
        """
        if accounts.is_home(path):
            return f"keep it where every account may read, such as below /srv: {page(REAL_SERVER)}"
        mode, place = f"{self.class_of(path.stat())}+{letters}", shlex.quote(str(path))
        if not whole:
            return f"chmod {mode} {place}"
        # Hidden files may have secrets, and a link may lead anywhere.
        return f"find {place} -name '.?*' -prune -o ! -type l -exec chmod {mode} {{}} +"

    def class_of(self, status: os.stat_result) -> str:
        """Return the class of permission bits that applies to ``who``: ``u``, ``g`` or ``o``."""
        if status.st_uid == self.who.uid:
            return "u"
        return "g" if status.st_gid in self.who.groups else "o"


def walk(top: Path, skip: Skip) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield ``top`` and all below it, except links and files that vanish meanwhile.

    :raises PermissionError: if we may not look ourselves
    """
    waiting = [top]
    while waiting:
        path = waiting.pop()
        with suppress(FileNotFoundError, NotADirectoryError):
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                continue
            yield path, status
            if stat.S_ISDIR(status.st_mode):
                inner = sorted(map(path.joinpath, os.listdir(path)), reverse=True)
                waiting += [each for each in inner if not skip(each)]


# The checks.


def code(subject: Subject) -> Iterator[Finding]:
    """Check that the account that runs the application can read all of its code."""
    check, who = "code-readable", subject.application_account
    if who.uid < 0:
        yield unknown(check, f"there is no account {who.name}")
        return
    access = first = Access(who)
    try:
        found = next(_code_obstacles(subject, access), None)
        if found is None and not subject.site.has_server:
            script = subject.current / subject.name / "dispatch.wsgi"
            access = Access(subject.web_account)
            found = next(access.read_obstacles(script, only_pass=True), None)
    except PermissionError as error:
        yield unknown(check, f"could not be checked: we may not look at {error.filename}")
        return
    if found:
        yield bad(check, f"{access.who.name} cannot {found.what}", found.advice)
    else:
        more = f" (the first {MOST_FILES} files of it were checked)" if first.is_incomplete else ""
        yield good(check, f"{who.name} can read the code and the ini{more}")


def _code_obstacles(subject: Subject, access: Access) -> Iterator[Obstacle]:
    """Yield the obstacles to reading the application and its ini."""
    home = subject.current / subject.name
    yield from access.read_obstacles(home / "server.json")
    yield from _ini_obstacles(subject, access)
    yield from access.read_obstacles(home / "env" / "bin" / "python")
    if not subject.site.has_server:
        yield from access.read_obstacles(home / "dispatch.wsgi")
    env = (home / "env").resolve()
    yield from access.closed_folders(env / "lib")
    yield from access.read_obstacles_below(env / "lib", _is_not_code)
    for egg in _eggs(env):
        yield from access.read_obstacles(egg, only_pass=True)
        # A project may contain the sandbox: not all of that is code.
        if not subject.current.parent.resolve().is_relative_to(egg.resolve()):
            yield from access.read_obstacles_below(egg.resolve(), _is_not_code)


def _eggs(env: Path) -> Iterator[Path]:
    """Yield the folders that ``.pth`` files add to an environment, in order."""
    for path in sorted(env.glob("lib/*/site-packages/*.pth")):
        for line in os.fsdecode(read_plainly(path)).splitlines():
            if line.startswith("/"):
                yield Path(line.rstrip())


def _ini_obstacles(subject: Subject, access: Access) -> Iterator[Obstacle]:
    """Yield the obstacles to reading the ini; the advice keeps it closed to everybody else."""
    ini, owner = subject.settings.ini, subject.owner
    for found in access.read_obstacles(ini):
        real = ini.resolve()
        if found.what != f"read {real}" or access.class_of(real.stat()) != "o":
            yield found
            continue
        status, place = real.stat(), shlex.quote(str(real))
        steps = [f"chgrp {shlex.quote(owner.group)} {place}"] if status.st_gid != owner.gid else []
        steps += [] if status.st_mode & stat.S_IRGRP else [f"chmod g+r {place}"]
        steps += ["bin/pylonyard activate"] if owner.gid not in access.who.groups else []
        yield Obstacle(found.what, " && ".join(steps))


def _is_not_code(path: Path) -> bool:
    """Return whether a file is no code: bytecode, or a hidden file."""
    return path.name.startswith(".") or path.name == "__pycache__" or path.suffix == ".pyc"


@dataclass(frozen=True)
class WritablePlace:
    """A folder that has to be writable, and the files in it that do."""

    folder: Path
    files: tuple[Path, ...] = ()
    """Files that have to be writable if they exist."""
    inner_bits: int | None = None
    """The permission bits that all files below need; None if they are not checked."""
    skip: frozenset[Path] = frozenset()


def data(subject: Subject) -> Iterator[Finding]:
    """Check that the application's account can write data, egg cache, logs and run folder."""
    who = subject.application_account
    for check, place in _places(subject).items():
        if who.uid < 0:
            yield unknown(check, f"there is no account {who.name}")
        else:
            yield _writable(check, place, Access(who), subject)


def _places(subject: Subject) -> dict[str, WritablePlace]:
    """Return the folders to check, by check; logs and run folder for a server of its own alone."""
    settings = subject.settings
    cache = Path(settings.environment.get("PYTHON_EGG_CACHE", settings.data / "egg-cache"))
    logs = (settings.application_log,)
    found = {
        "data-writable": WritablePlace(
            settings.data, inner_bits=READ | WRITE, skip=frozenset({Path(os.path.realpath(cache))})
        ),
        "egg-cache-writable": WritablePlace(cache, inner_bits=READ),
        "log-writable": WritablePlace(settings.log.parent, logs),
    }
    if subject.site.has_server:
        found["log-writable"] = WritablePlace(settings.log.parent, (settings.log, *logs))
        found["run-writable"] = WritablePlace(
            settings.run, (lock_file(settings), intent_file(settings))
        )
    return found


def _writable(check: str, place: WritablePlace, access: Access, subject: Subject) -> Finding:
    folder = place.folder
    try:
        if not folder.exists() and check == "egg-cache-writable":
            return good(check, f"{folder} is made when it is needed")
        found = next(_write_obstacles(place, access, subject), None)
        is_fixed = bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except PermissionError as error:
        where = error.filename or folder
        return unknown(check, f"could not be checked: we may not look at {where}")
    except OSError as error:
        why = error.strerror or "missing"
        return bad(check, f"{folder}: {why}", "bin/buildout makes it again")
    if found:
        return bad(check, f"{access.who.name} cannot {found.what}", found.advice)
    if is_fixed:
        mounted = shlex.quote(str(_mount_point(folder)))
        again = f"dmesg | tail shows why; mount -o remount,rw {mounted}"
        return bad(check, f"{folder} is mounted read-only", again)
    more = f" (its first {MOST_FILES} files were checked)" if access.is_incomplete else ""
    return good(check, f"{access.who.name} can write {folder}{more}")


def _write_obstacles(place: WritablePlace, access: Access, subject: Subject) -> Iterator[Obstacle]:
    """Yield the obstacles to writing to a folder."""
    real = place.folder.resolve(strict=True)
    options = "" if place.inner_bits is None else "-R "
    yield from access.closed_folders(real)
    if not (real.is_dir() and access.may(real, WRITE | SEARCH)):
        yield Obstacle(f"write {real}", _chown_command(real, subject, options))
    for path in place.files:
        with suppress(FileNotFoundError):
            if not access.may(path, READ | WRITE):
                look = f"ls -l {shlex.quote(str(path))}; move it elsewhere"
                advice = look if path.is_symlink() else _chown_command(path, subject)
                yield Obstacle(f"write {path}", advice)
    if place.inner_bits is not None:
        skip = lambda path: path in place.skip or path.name == LOST_AND_FOUND  # noqa: E731
        for path, verb in access.write_obstacles_below(real, place.inner_bits, skip):
            yield Obstacle(f"{verb} {path}", _chown_command(real, subject, options))


def _chown_command(path: Path, subject: Subject, options: str = "") -> str:
    """Return the command that gives ``path`` to the site's account.

    It changes no file that a link leads to, also if ``path`` becomes a link meanwhile.
    """
    owner, place = subject.owner, shlex.quote(str(path))
    whose = shlex.quote(f"{owner.name}:{owner.group}")
    give = f"chown {options}-h {whose} {place} && chmod {options}u+rwX {place}"
    if subject.application_account != owner:
        give += " && bin/pylonyard activate"
    return f"{give}  # if all in it is the site's" if options else give


def _mount_point(folder: Path) -> Path:
    places = [folder.resolve(), *folder.resolve().parents]
    return next(place for place in places if place.is_mount())


def ini_private(subject: Subject) -> Iterator[Finding]:
    """Check that nobody else can read the secrets, in the ini and in their folder."""
    check, path = "ini-private", subject.settings.ini
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        yield unknown(check, f"{path}: {error.strerror}")
        return
    kept = subject.secrets_folder
    public = [(path, mode)] if mode & 0o007 else list(_public_secrets(kept))
    for place, found in public[:1]:
        options = "-R " if place == kept else ""
        yield bad(
            check,
            f"{place} has secrets, and everybody may read it (mode {found:04o})",
            f"chmod {options}o-rwx {shlex.quote(str(place))}, and change the secrets",
        )
    if not public:
        yield good(check, f"{path} is private (mode {mode:04o})")


def _public_secrets(kept: Path) -> Iterator[tuple[Path, int]]:
    """Yield the folder and files of the secrets that everybody can read."""
    # If we may not enter the folder, report its mode only.
    with suppress(PermissionError):
        for path, status in walk(kept, lambda path: False):
            mode = stat.S_IMODE(status.st_mode)
            if mode & 0o007:
                yield path, mode
