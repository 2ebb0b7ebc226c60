"""True if those who run the code may read it and write its data, and all is as released."""

import contextlib
import hashlib
import os
import shlex
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pylonyard.commands.doctor.context import Subject
from pylonyard.commands.doctor.findings import Finding, bad, good, unknown
from pylonyard.commands.doctor.permissions import MOST, READ, SEARCH, WRITE, Hindrance, Reach, below
from pylonyard.releases.store import MANIFEST, Releases
from pylonyard.server.control import lock_file
from pylonyard.server.status import intent_file
from pylonyard.system.errors import ServerError
from pylonyard.system.safe_files import read_plainly

LOST = "lost+found"
"""What a file system keeps for itself."""


def code(subject: Subject) -> Iterator[Finding]:
    """See that whoever runs the application can read all of it."""
    check, who = "code-readable", subject.runner
    if who.uid < 0:
        yield unknown(check, f"there is no account {who.name}")
        return
    reach = sight = Reach(who)
    try:
        found = next(_unread_code(subject, reach), None)
        if found is None and not subject.site.has_server:
            script = subject.current / subject.name / "dispatch.wsgi"
            reach = Reach(subject.apache_account)
            found = next(reach.unread(script, only_pass=True), None)
    except PermissionError as error:
        yield unknown(check, f"could not be checked: we may not look at {error.filename}")
        return
    if found:
        yield bad(check, f"{reach.who.name} cannot {found.what}", found.advice)
    else:
        more = f" (the first {MOST} files of it were looked at)" if sight.is_cut else ""
        yield good(check, f"{who.name} can read the code and the ini{more}")


def _unread_code(subject: Subject, reach: Reach) -> Iterator[Hindrance]:
    """Yield what hinders those who run the application from reading it, and its ini."""
    home = subject.current / subject.name
    yield from reach.unread(home / "server.json")
    yield from _unread_ini(subject, reach)
    yield from reach.unread(home / "env" / "bin" / "python")
    if not subject.site.has_server:
        yield from reach.unread(home / "dispatch.wsgi")
    env = (home / "env").resolve()
    yield from reach.closed(env / "lib")
    yield from reach.unread_below(env / "lib", _is_no_code)
    for egg in _eggs(env):
        yield from reach.unread(egg, only_pass=True)
        # A project may have the sandbox in it: not all of that is code.
        if not subject.current.parent.resolve().is_relative_to(egg.resolve()):
            yield from reach.unread_below(egg.resolve(), _is_no_code)


def _eggs(env: Path) -> Iterator[Path]:
    """Yield what Python's path files add to the packages of a sandbox, in order."""
    for path in sorted(env.glob("lib/*/site-packages/*.pth")):
        for line in os.fsdecode(read_plainly(path)).splitlines():
            if line.startswith("/"):
                yield Path(line.rstrip())


def _unread_ini(subject: Subject, reach: Reach) -> Iterator[Hindrance]:
    """Yield what hinders from reading the ini; everybody else shall not read it either."""
    ini, owner = subject.settings.ini, subject.owner
    for found in reach.unread(ini):
        real = ini.resolve()
        if found.what != f"read {real}" or reach.class_of(real.stat()) != "o":
            yield found
            continue
        status, place = real.stat(), shlex.quote(str(real))
        steps = [f"chgrp {shlex.quote(owner.group)} {place}"] if status.st_gid != owner.gid else []
        steps += [] if status.st_mode & stat.S_IRGRP else [f"chmod g+r {place}"]
        steps += ["bin/pylonyard activate"] if owner.gid not in reach.who.groups else []
        yield Hindrance(found.what, " && ".join(steps))


def _is_no_code(path: Path) -> bool:
    """Tell what Python can do without: what it has compiled, and hidden files."""
    return path.name.startswith(".") or path.name == "__pycache__" or path.suffix == ".pyc"


@dataclass(frozen=True)
class Place:
    """A folder to write into, and what is to be written in it."""

    folder: Path
    files: tuple[Path, ...] = ()
    """Those that count; they need not be there."""
    inner: int | None = None
    """The bits that all files below need; None if they do not count."""
    skip: frozenset[Path] = frozenset()


def data(subject: Subject) -> Iterator[Finding]:
    """See that whoever runs the application can write data, egg cache, logs and run folder."""
    who = subject.runner
    for check, place in _places(subject).items():
        if who.uid < 0:
            yield unknown(check, f"there is no account {who.name}")
        else:
            yield _writable(check, place, Reach(who), subject)


def _places(subject: Subject) -> dict[str, Place]:
    """Return what has to be written, by check; Apache needs no log or run folder of a server."""
    settings = subject.settings
    cache = Path(settings.environment.get("PYTHON_EGG_CACHE", settings.data / "egg-cache"))
    logs = (settings.application_log,)
    found = {
        "data-writable": Place(
            settings.data, inner=READ | WRITE, skip=frozenset({Path(os.path.realpath(cache))})
        ),
        "egg-cache-writable": Place(cache, inner=READ),
        "log-writable": Place(settings.log.parent, logs),
    }
    if subject.site.has_server:
        found["log-writable"] = Place(settings.log.parent, (settings.log, *logs))
        found["run-writable"] = Place(settings.run, (lock_file(settings), intent_file(settings)))
    return found


def _writable(check: str, place: Place, reach: Reach, subject: Subject) -> Finding:
    folder = place.folder
    try:
        if not folder.exists() and check == "egg-cache-writable":
            return good(check, f"{folder} is made when it is needed")
        found = next(_unwritten(place, reach, subject), None)
        is_fixed = bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except PermissionError as error:
        where = error.filename or folder
        return unknown(check, f"could not be checked: we may not look at {where}")
    except OSError as error:
        why = error.strerror or "missing"
        return bad(check, f"{folder}: {why}", "bin/buildout makes it again")
    if found:
        return bad(check, f"{reach.who.name} cannot {found.what}", found.advice)
    if is_fixed:
        mounted = shlex.quote(str(_mount_point(folder)))
        again = f"dmesg | tail tells why; mount -o remount,rw {mounted}"
        return bad(check, f"{folder} is mounted read-only", again)
    more = f" (its first {MOST} files were looked at)" if reach.is_cut else ""
    return good(check, f"{reach.who.name} can write {folder}{more}")


def _unwritten(place: Place, reach: Reach, subject: Subject) -> Iterator[Hindrance]:
    """Yield what hinders from writing into a folder."""
    real = place.folder.resolve(strict=True)
    options = "" if place.inner is None else "-R "
    yield from reach.closed(real)
    if not (real.is_dir() and reach.may(real, WRITE | SEARCH)):
        yield Hindrance(f"write {real}", _given(real, subject, options))
    for path in place.files:
        with contextlib.suppress(FileNotFoundError):
            if not reach.may(path, READ | WRITE):
                look = f"ls -l {shlex.quote(str(path))}; move it elsewhere"
                advice = look if path.is_symlink() else _given(path, subject)
                yield Hindrance(f"write {path}", advice)
    if place.inner is not None:
        skip = lambda path: path in place.skip or path.name == LOST  # noqa: E731
        for path, verb in reach.unwritten_below(real, place.inner, skip):
            yield Hindrance(f"{verb} {path}", _given(real, subject, options))


def _given(path: Path, subject: Subject, options: str = "") -> str:
    """Return the command that has ``path`` belong to those who write it.

    Where a link has come in its place meanwhile, what that leads to stays whose it is.
    """
    owner, place = subject.owner, shlex.quote(str(path))
    whose = shlex.quote(f"{owner.name}:{owner.group}")
    give = f"chown {options}-h {whose} {place} && chmod {options}u+rwX {place}"
    if subject.runner != owner:
        give += " && bin/pylonyard activate"
    return f"{give}  # if all in it is the site's" if options else give


def _mount_point(folder: Path) -> Path:
    places = [folder.resolve(), *folder.resolve().parents]
    return next(place for place in places if place.is_mount())


def ini_private(subject: Subject) -> Iterator[Finding]:
    """See that nobody else may read the secrets, in the ini and where they are kept."""
    check, path = "ini-private", subject.settings.ini
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        yield unknown(check, f"{path}: {error.strerror}")
        return
    kept = subject.kept_secrets
    public = [(path, mode)] if mode & 0o007 else list(_public(kept))
    for place, found in public[:1]:
        options = "-R " if place == kept else ""
        yield bad(
            check,
            f"{place} has secrets, and everybody may read it (mode {found:04o})",
            f"chmod {options}o-rwx {shlex.quote(str(place))}, and change the secrets",
        )
    if not public:
        yield good(check, f"{path} is private (mode {mode:04o})")


def _public(kept: Path) -> Iterator[tuple[Path, int]]:
    """Yield the folder of the secrets, and those in it, that are open to everybody."""
    # Who may not look into it is told of what shows from outside.
    with contextlib.suppress(PermissionError):
        for path, status in below(kept, lambda path: False):
            mode = stat.S_IMODE(status.st_mode)
            if mode & 0o007:
                yield path, mode


def debug(subject: Subject) -> Iterator[Finding]:
    """See that no debugger is served."""
    check, path = "debug", subject.settings.ini
    if subject.is_development:
        yield unknown(check, "this is for development")
        return
    try:
        # Imported here: they run on a tool that may be lacking.
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
    """See that the live release is what its manifest says."""
    check, folder = "release-intact", subject.current.resolve()
    described = _described(folder, subject.current)
    if not isinstance(described, dict):
        yield bad(check, f"{folder}: the manifest is damaged", "bin/pylonyard rollback")
        return
    unread = 0
    for path, said in described.items():
        try:
            # What is to be the account's to read is closed until there is one.
            differs = _differs(folder / path, said, is_given=subject.owner.uid >= 0)
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


def _described(folder: Path, current: Path) -> object:
    """Return what the manifest says of the release's files; None if it is damaged."""
    if not (folder / MANIFEST).is_file():
        return None
    return Releases(folder.parent, current).manifest(int(folder.name)).get("files")


def _differs(path: Path, said: dict[str, str], *, is_given: bool) -> str:
    if "link" in said:
        found = os.readlink(path) if path.is_symlink() else None
        return "" if found == said["link"] and path.exists() else "the link was changed, or broken"
    digest = hashlib.sha256(read_plainly(path)).hexdigest()
    if digest != said.get("sha256"):
        return "changed since the release was made"
    mode = f"{stat.S_IMODE(path.lstat().st_mode):04o}"
    is_right = mode == said.get("mode") or (mode == "0600" and not is_given)
    return "" if is_right else f"mode {mode}, was made {said.get('mode')}"
