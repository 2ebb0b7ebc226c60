"""Check that accounts can read the code and write the data, and that files are unchanged."""

import contextlib
import hashlib
import os
import shlex
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pylonyard.commands.doctor.check import Finding, Subject, bad, good, unknown
from pylonyard.commands.doctor.permissions import (
    MOST_FILES,
    READ,
    SEARCH,
    WRITE,
    Access,
    Obstacle,
    walk,
)
from pylonyard.config.layout import MANIFEST
from pylonyard.releases.store import Releases
from pylonyard.server.status import intent_file, lock_file
from pylonyard.system.errors import ServerError
from pylonyard.system.safe_files import read_plainly

LOST_AND_FOUND = "lost+found"
"""A folder that a file system makes for itself."""


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
    """Return whether Python does not need a file: bytecode, or a hidden file."""
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
        with contextlib.suppress(FileNotFoundError):
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
    # An account that may not enter the folder gets what shows from outside.
    with contextlib.suppress(PermissionError):
        for path, status in walk(kept, lambda path: False):
            mode = stat.S_IMODE(status.st_mode)
            if mode & 0o007:
                yield path, mode


def debug(subject: Subject) -> Iterator[Finding]:
    """Check that the live ini starts no debugger."""
    check, path = "debug", subject.settings.ini
    if subject.is_development:
        yield unknown(check, "this is for development")
        return
    try:
        # Imported here, since they need a tool that may be missing.
        from pylonyard.config.ini import Ini, IniError, debug_problems
    except ImportError as error:
        yield unknown(check, f"could not be checked without {error.name}")
        return
    try:
        problems = debug_problems(Ini(read_plainly(path).decode()))
    except (OSError, ServerError, UnicodeDecodeError, IniError) as error:
        yield unknown(check, f"{path} cannot be read ({error.__class__.__name__})")
        return
    if problems:
        yield bad(check, problems[0], "debug = false in [ini]; bin/buildout, and restart")
    else:
        yield good(check, "no debugger is served")


def intact(subject: Subject) -> Iterator[Finding]:
    """Check that the files of the live release are as its manifest says."""
    check, folder = "release-intact", subject.current.resolve()
    described = _manifest_files(folder, subject.current)
    if not isinstance(described, dict):
        yield bad(check, f"{folder}: the manifest is damaged", "bin/pylonyard rollback")
        return
    unread = 0
    for path, said in described.items():
        try:
            # A file for the account to read stays closed until the account exists.
            differs = _difference(folder / path, said, is_given=subject.owner.uid >= 0)
        except PermissionError:
            unread += 1
            continue
        except OSError as error:
            differs = error.strerror or "missing"
        except ServerError:
            differs = "is no regular file any more"
        if differs:
            yield bad(
                check, f"{folder / path}: {differs}", "bin/buildout, or bin/pylonyard rollback"
            )
            return
    more = f" ({unread} we may not read)" if unread else ""
    yield good(check, f"release {folder.name}: all files are as they were made{more}")


def _manifest_files(folder: Path, current: Path) -> object:
    """Return the manifest's entries of files; None if the manifest is damaged."""
    if not (folder / MANIFEST).is_file():
        return None
    return Releases(folder.parent, current).manifest(int(folder.name)).get("files")


def _difference(path: Path, said: dict[str, str], *, is_given: bool) -> str:
    if "link" in said:
        found = os.readlink(path) if path.is_symlink() else None
        return "" if found == said["link"] and path.exists() else "the link was changed, or broken"
    digest = hashlib.sha256(read_plainly(path)).hexdigest()
    if digest != said.get("sha256"):
        return "changed since the release was made"
    mode = f"{stat.S_IMODE(path.lstat().st_mode):04o}"
    is_right = mode == said.get("mode") or (mode == "0600" and not is_given)
    return "" if is_right else f"mode {mode}, was made {said.get('mode')}"
