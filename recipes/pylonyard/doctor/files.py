"""Whether those who run the code may read it and write its data, and all is as released."""

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from pylonyard.activation.access import bits_of
from pylonyard.activation.entries import ABSENT
from pylonyard.activation.world import RUN_LEVELS_STARTED, Account, Folder, registered
from pylonyard.debugging import debug_problems
from pylonyard.doctor import reading
from pylonyard.doctor.findings import Finding, bad, good, unknown
from pylonyard.doctor.subject import Subject
from pylonyard.inifile import Ini, IniError
from pylonyard.releases import MANIFEST, Releases
from pylonyard.server.errors import ServerError

READ, WRITE, SEARCH = 4, 2, 1
MOST = 20000
"""Files of the sandbox that are looked at."""


def code(subject: Subject) -> Iterator[Finding]:
    """See that whoever runs the application can read all of it."""
    check, who = "code-readable", subject.runner
    if who.uid < 0:
        yield unknown(check, f"there is no account {who.name}")
        return
    try:
        who, problem = _unreadable_code(subject)
    except PermissionError as error:
        yield unknown(check, f"could not be checked: we may not look at {error.filename}")
        return
    if problem:
        yield bad(
            check,
            f"{who.name} cannot {problem}",
            "chmod, as said; in mod_wsgi modes: bin/pylonyard activate",
        )
    else:
        yield good(check, f"{who.name} can read the code and the ini")


def _unreadable_code(subject: Subject) -> tuple[Account, str]:
    """Return who cannot read the code, and what hinders them; empty if nothing does."""
    home, who = subject.current / subject.name, subject.runner
    wanted = [home / "server.json", subject.settings.ini, home / "env" / "bin" / "python"]
    if not subject.site.has_server:
        wanted.append(home / "dispatch.wsgi")
    problem = next(filter(None, (_unreadable(path, who) for path in wanted)), "")
    problem = problem or _unreadable_below((home / "env").resolve() / "lib", who)
    if not problem and not subject.site.has_server:
        problem = _unreadable(home / "dispatch.wsgi", subject.apache_account, only_pass=True)
        who = subject.apache_account if problem else who
    return who, problem


def _unreadable(path: Path, who: Account, *, only_pass: bool = False) -> str:
    """Return what hinders ``who`` from reading ``path``; empty if nothing does.

    :raises PermissionError: if we may not look ourselves
    """
    try:
        real = path.resolve(strict=True)
    except PermissionError:
        raise
    except OSError as error:
        return f"read {path}: {error.strerror}"
    for folder in reversed(real.parents):
        if not _may(folder, who, SEARCH):
            return f"enter {folder}: chmod o+x {folder}"
    return "" if only_pass or _may(real, who, READ) else f"read {real}: chmod g+r {real}"


def _may(path: Path, who: Account, bits: int) -> bool:
    status = path.stat()
    folder = Folder(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
    return bits & ~bits_of(who, folder) == 0


def _unreadable_below(top: Path, who: Account) -> str:
    seen = 0
    for folder, _, names in os.walk(top):
        if not _may(Path(folder), who, READ | SEARCH):
            return f"read {folder}: chmod -R o+rX {folder}"
        for name in names:
            seen += 1
            path = Path(folder, name)
            if seen > MOST:
                return ""
            if not path.is_symlink() and not _may(path, who, READ):
                return f"read {path}: chmod o+r {path}"
    return ""


def data(subject: Subject) -> Iterator[Finding]:
    """See that whoever runs the application can write its data, egg cache and log."""
    who, settings = subject.runner, subject.settings
    cache = Path(settings.environment.get("PYTHON_EGG_CACHE", settings.data / "egg-cache"))
    places = {"data-writable": settings.data, "egg-cache-writable": cache}
    for check, folder in {**places, "log-writable": settings.log.parent}.items():
        if who.uid < 0:
            yield unknown(check, f"there is no account {who.name}")
        else:
            yield _writable(check, folder, who, subject)


def _writable(check: str, folder: Path, who: Account, subject: Subject) -> Finding:
    try:
        if not folder.exists() and check == "egg-cache-writable":
            return good(check, f"{folder} is made when it is needed")
        problem = _unwritable(folder, who, with_files=check == "data-writable")
        is_fixed = bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except PermissionError as error:
        where = error.filename or folder
        return unknown(check, f"could not be checked: we may not look at {where}")
    except OSError as error:
        why = error.strerror or "missing"
        return bad(check, f"{folder}: {why}", "bin/buildout makes it again")
    if problem:
        give = f"chown -R {subject.site.user} {folder} && chmod -R ug+rwX {folder}"
        return bad(check, f"{who.name} cannot {problem}", give)
    if is_fixed:
        again = f"dmesg | tail tells why; mount -o remount,rw {_mount_point(folder)}"
        return bad(check, f"{folder} is mounted read-only", again)
    return good(check, f"{who.name} can write {folder}")


def _unwritable(folder: Path, who: Account, *, with_files: bool) -> str:
    """Return what hinders ``who`` from writing into ``folder``; empty if nothing does."""
    closed = next((p for p in reversed(folder.parents) if not _may(p, who, SEARCH)), None)
    if closed:
        return f"pass {closed}"
    if not (folder.is_dir() and _may(folder, who, WRITE | SEARCH)):
        return f"write {folder}"
    locked = _locked(folder, who) if with_files else None
    return f"write {locked}" if locked else ""


def _locked(folder: Path, who: Account) -> Path | None:
    """Return a file of the data, such as a database, that ``who`` cannot write."""
    for path in sorted(folder.iterdir()):
        # The application may remove a file of its own while we look.
        with contextlib.suppress(FileNotFoundError):
            if path.is_file() and not path.is_symlink() and not _may(path, who, READ | WRITE):
                return path
    return None


def _mount_point(folder: Path) -> Path:
    places = [folder.resolve(), *folder.resolve().parents]
    return next(place for place in places if place.is_mount())


def ini_private(subject: Subject) -> Iterator[Finding]:
    check, path = "ini-private", subject.settings.ini
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        yield unknown(check, f"{path}: {error.strerror}")
        return
    if mode & 0o007:
        yield bad(
            check,
            f"{path} has secrets, and everybody may read it (mode {mode:04o})",
            f"chmod o-rwx {path}, and change the secrets",
        )
    else:
        yield good(check, f"{path} is private (mode {mode:04o})")


def debug(subject: Subject) -> Iterator[Finding]:
    """See that no debugger is served."""
    check, path = "debug", subject.settings.ini
    if subject.is_development:
        yield unknown(check, "this is for development")
        return
    try:
        problems = debug_problems(Ini(reading.content(path).decode()))
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
            differs = _differs(folder / path, said)
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


def _differs(path: Path, said: dict[str, str]) -> str:
    if "link" in said:
        found = os.readlink(path) if path.is_symlink() else None
        return "" if found == said["link"] and path.exists() else "the link was changed, or broken"
    digest = hashlib.sha256(reading.content(path)).hexdigest()
    if digest != said.get("sha256"):
        return "changed since the release was made"
    mode = f"{stat.S_IMODE(path.lstat().st_mode):04o}"
    return "" if mode == said.get("mode") else f"mode {mode}, was made {said.get('mode')}"


def active(subject: Subject) -> Iterator[Finding]:
    """See that ``/etc`` has what the live release has for it."""
    check, journal = "active-files", subject.journal
    if subject.journal_problem:
        what, _, advice = subject.journal_problem.partition("; ")
        yield bad(check, what, advice or "move it away, and activate again")
        return
    if journal is None or journal.release is None:
        why = "only root may know" if journal is None else "no release was activated"
        yield unknown(check, why)
        return
    if journal.is_cut_short:
        yield bad(check, "an activation was cut short", "bin/pylonyard activate")
        return
    current = subject.current.resolve().name
    if str(journal.release) != current:
        yield bad(
            check,
            f"release {journal.release} is active, and {current} is current",
            "bin/pylonyard activate",
        )
        return
    for name, digest in journal.laid.items():
        entry = subject.tree.read(name)
        if Path(name).stem in (subject.name, "wsgi") and entry.digest != digest:
            what = "is missing" if entry == ABSENT else "was edited"
            yield bad(check, f"{name} {what}", "bin/pylonyard activate --force-new keeps both")
            return
    yield good(check, f"/etc has what release {current} has for it")


def cron(subject: Subject) -> Iterator[Finding]:
    """See that cron does not ignore the entry."""
    check, name = "cron-entry", f"/etc/cron.d/{subject.name}"
    journal = subject.journal
    if not subject.site.has_server or journal is None or name not in journal.laid:
        yield unknown(check, "no entry was activated, or we may not know")
        return
    entry = subject.tree.read(name)
    if entry == ABSENT:
        yield bad(check, f"{name} is missing", "bin/pylonyard activate --force-new")
    elif entry.uid or entry.mode & 0o022 or not entry.content.endswith(b"\n"):
        yield bad(
            check,
            f"cron ignores {name}: expected a file of root's that others cannot write",
            f"chown root:root {name} && chmod 0644 {name}",
        )
    else:
        yield good(check, f"cron reads {name}")


def init(subject: Subject) -> Iterator[Finding]:
    """See that the site comes up with the machine."""
    check, name = "init-script", f"/etc/init.d/{subject.name}"
    journal = subject.journal
    if not subject.site.has_server or journal is None or name not in journal.laid:
        yield unknown(check, "no script was activated, or we may not know")
    elif not subject.tree.read(name).mode & 0o100:
        yield bad(check, f"{name} is missing, or cannot be run", "bin/pylonyard activate")
    elif subject.name not in registered(subject.tree):
        levels = f"no run level of {RUN_LEVELS_STARTED} starts it"
        yield bad(check, levels, f"update-rc.d {subject.name} defaults")
    else:
        yield good(check, f"{name} is started with the machine")
