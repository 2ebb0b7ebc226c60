"""Check what the site runs: its server, on its port, with its ini, of an unchanged release."""

import hashlib
import os
import shlex
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pylonyard.activation.host.visits import request
from pylonyard.commands.doctor.check import (
    ACTIVATE,
    Finding,
    Subject,
    bad,
    good,
    mask_secrets,
    unknown,
)
from pylonyard.config.layout import MANIFEST
from pylonyard.releases.store import Releases
from pylonyard.server.status import intent_file
from pylonyard.system import accounts, listeners
from pylonyard.system.errors import ActivationError, ServerError
from pylonyard.system.listeners import reachable
from pylonyard.system.processes import (
    Marker,
    arguments,
    command,
    owner,
    server_marker,
    started,
    supervisor_marker,
)
from pylonyard.system.safe_files import read_plainly

RUNNING, DEAD, STOPPED, SILENT = 0, 1, 3, 4


def running(subject: Subject) -> Iterator[Finding]:
    """Check that the server, or the private web server, runs: by ``bin/<site> status``."""
    check, site = "server-running", subject.site
    if not site.has_server and subject.is_activated:
        yield unknown(check, f"{subject.webserver.title} runs the application")
        return
    if site.has_server and not subject.can_run_commands:
        yield unknown(check, f"could not be checked: only root and {site.user} may ask for it")
        return
    if subject.owner.uid < 0:
        yield unknown(check, f"there is no account {site.user} to run it")
        return
    private = subject.webserver.private_command(site.name)
    script = site.name if site.has_server else private
    status, output = subject.run([subject.current / "bin" / script, "status"])
    text = output.strip().splitlines()[-1] if output.strip() else f"exit status {status}"
    again = f"bin/{script} restart; bin/{site.name} log shows more"
    if status == RUNNING:
        yield good(check, text)
    elif status == STOPPED:
        yield _stopped(subject, script, text)
    elif status == DEAD:
        yield bad(check, text, f"bin/{script} start")
    elif status == SILENT:
        yield bad(check, text, again)
    else:
        yield bad(check, f"bin/{script} status: {text}", "bin/buildout, then look again")


def _stopped(subject: Subject, script: str, text: str) -> Finding:
    check, start = "server-running", f"bin/{script} start"
    if _waits_for_activation(subject):
        # Nobody is to see it: it was not activated yet, or deactivated.
        return Finding(check, None, f"{text}: the site is not active", accounts.as_root(ACTIVATE))
    text += ": somebody stopped it" if _was_started(subject) else ": it was never started"
    # In development it may well be stopped.
    return bad(check, text, start) if subject.is_activated else Finding(check, None, text, start)


def _waits_for_activation(subject: Subject) -> bool:
    """Return whether a site of staging or production is not activated yet."""
    return not (subject.is_activated or subject.is_for_development)


def _was_started(subject: Subject) -> bool:
    """Return whether the site was ever started, as its log or its note of intent shows."""
    log, private = subject.settings.log, subject.webserver.private_command(subject.name)
    traces = (log, log.with_name(f"{private}.log"), intent_file(subject.settings))
    folders = {path.parent for path in traces if path.parent.exists()}
    may_look = all(os.access(folder, os.X_OK) for folder in folders)
    return not may_look or any(map(os.path.lexists, traces))


def port(subject: Subject) -> Iterator[Finding]:
    """Check that ini, init script and the web server use one port, and that no other has it."""
    check, site, title = "port", subject.site, subject.webserver.title
    if not site.has_server:
        yield unknown(check, "no server of its own in this mode")
        return
    if subject.ini is None:
        yield unknown(check, f"{subject.settings.ini} cannot be read")
        return
    said = subject.ini.get("server:main", "port", fallback="").strip()
    if said != str(site.port):
        yield bad(
            check,
            f"the ini says port {said or 'nothing'}, the init script and {title} {site.port}",
            "set port only in [site], and run bin/buildout",
        )
        return
    holders = _holders(subject)
    strangers = [pid for pid in holders if not _is_ours(pid, subject)]
    if strangers and not _inis(holders):
        yield bad(
            check,
            f"port {site.port} is held by {_process_text(strangers[0], subject)}",
            f"set another port in [site], or end that if it is yours; bin/{site.name} restart",
        )
    else:
        yield good(check, f"ini, init script and {title} agree on port {site.port}")


def _holders(subject: Subject) -> list[int]:
    """Return the processes that listen on the site's port, without its supervisors."""
    settings = subject.settings
    found = listeners.holders(listeners.inodes(settings.host, subject.site.port))
    marker = supervisor_marker(settings.identity, settings.own_places)
    return [pid for pid in found if not _is_marked(pid, marker, subject)]


def _is_ours(pid: int, subject: Subject) -> bool:
    """Return whether ``pid`` is the site's server: by its command line, or by its mark."""
    if str(subject.settings.ini) in arguments(pid):
        return True
    settings = subject.settings
    return _is_marked(pid, server_marker(settings.identity, settings.own_places), subject)


def _is_marked(pid: int, marker: Marker, subject: Subject) -> bool:
    """Return whether ``pid`` has the mark and the account of the site's processes."""
    return marker.is_on(pid) and owner(pid) in (subject.owner.uid, os.getuid())


def _process_text(pid: int, subject: Subject) -> str:
    return f"process {pid} ({mask_secrets(command(pid), subject.secrets)[:80]})"


def _inis(processes: list[int]) -> list[str]:
    """Return the ini files in the command lines of servers among ``processes``."""
    servers = [words for pid in processes if "serve" in (words := arguments(pid))]
    return [word for words in servers for word in words if word.endswith(".ini")]


def ini(subject: Subject) -> Iterator[Finding]:
    """Check that the server was started with the live ini, after its last change."""
    check, wanted = "ini", str(subject.settings.ini)
    holders = _holders(subject) if subject.site.has_server else []
    if not holders:
        yield unknown(check, "no server of the site listens, or we may not see its owner")
        return
    words = _inis(holders)
    if not words:
        yield unknown(check, f"{_process_text(holders[0], subject)} listens, and names no ini")
        return
    if wanted not in words:
        yield bad(
            check,
            f"port {subject.site.port} serves {words[0]}, not {wanted}",
            f"end that server if it is yours, then: bin/{subject.name} restart",
        )
        return
    since = min(started(pid) or time.time() for pid in holders)
    again = f"bin/{subject.name} restart"
    for path, changed, what in _changes(subject):
        if changed > time.time() + 1:
            why = f"{path} is dated in the future: the clock was set back"
            yield bad(check, why, f"{shlex.join(['touch', '-h', str(path)])} && {again}")
            return
        if since < changed - 1:
            yield bad(check, f"the server was started before {what}: it serves an older ini", again)
            return
    yield good(check, f"{wanted} is served")


def _changes(subject: Subject) -> Iterator[tuple[Path, float, str]]:
    """Yield each path that decides which ini is live, when it changed, and how to say so."""
    yield subject.current, subject.current.lstat().st_mtime, "the current release"
    file = subject.settings.ini
    with suppress(OSError):
        yield file, file.stat().st_mtime, "the ini was changed"


def private(subject: Subject) -> Iterator[Finding]:
    """Check that only this machine can reach the backend."""
    check, number = "backend-private", subject.site.port
    if not subject.site.has_server:
        yield unknown(check, "no server of its own in this mode")
        return
    found = [s.address for s in listeners.listeners() if s.port == number]
    if not found:
        yield unknown(check, f"nobody listens on port {number}")
        return
    if others := [a for a in found if not a.is_loopback]:
        yield bad(
            check,
            f"port {number} answers on {others[0]}: anybody can bypass {subject.webserver.title}",
            "set host = 127.0.0.1 in [server:main], run bin/buildout, and: "
            f"bin/{subject.name} restart",
        )
    else:
        yield good(check, f"port {number} answers this machine only")


def application(subject: Subject) -> Iterator[Finding]:
    """Send a request to the application itself, without the web server where that is possible."""
    check, settings = "application", subject.settings
    if not subject.site.has_server:
        yield unknown(check, f"see visit: {subject.webserver.title} runs it")
        return
    place = f"{settings.host}:{settings.port}"
    try:
        host = subject.site.server_name
        address = reachable(settings.host)
        status = request(address, settings.port, host, path=settings.check_path, timeout=10)
    except ActivationError as error:
        subject.answers[check] = False
        yield unknown(check, f"{error}")
        return
    subject.answers[check] = status < 500
    if status < 500:
        yield good(check, f"{place}{settings.check_path} answers {status}")
    else:
        yield bad(
            check,
            f"{place}{settings.check_path} answers {status}",
            f"read the last traceback: bin/{subject.name} log",
        )


def account(subject: Subject) -> Iterator[Finding]:
    """Check that the account exists, and is not root in staging or production."""
    check, user = "account", subject.site.user
    if subject.owner.uid < 0 and _waits_for_activation(subject):
        text = f"there is no account {user} on this machine yet; the activation makes it"
        yield Finding(check, None, text, accounts.as_root(ACTIVATE))
    elif subject.owner.uid < 0:
        advice = f"{accounts.MAKING} {user} && bin/buildout"
        yield bad(check, f"there is no account {user} on this machine", advice)
    elif subject.owner.uid == 0:
        advice = f"user = {subject.name} in its section, and run bin/buildout"
        text = f"{user} runs it, so whoever breaks into it is {user}"
        yield (
            unknown(check, f"{text}: {advice}")
            if subject.is_for_development
            else bad(check, text, advice)
        )
    else:
        yield good(check, f"{user} exists (number {subject.owner.uid})")


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
