"""Whether the site's own server is up, on its port, from its ini, for Apache alone."""

import os
import time
from collections.abc import Iterator

from pylonyard.activation.errors import ActivationError
from pylonyard.activation.httpd import request
from pylonyard.doctor.findings import Finding, bad, good, unknown
from pylonyard.doctor.subject import Subject
from pylonyard.server import listening
from pylonyard.server.answering import reachable
from pylonyard.server.processes import PROC, command, owner, started, supervisor_marker

RUNNING, DEAD, STOPPED, SILENT = 0, 1, 3, 4


def running(subject: Subject) -> Iterator[Finding]:
    """Ask ``bin/<site> status``, or that of the private Apache."""
    check, site = "server-running", subject.site
    if not site.has_server and subject.is_laid:
        yield unknown(check, "Apache runs the application")
        return
    if site.has_server and not subject.may_act:
        yield unknown(check, f"could not be checked: only root and {site.user} may ask for it")
        return
    script = site.name if site.has_server else f"{site.name}-httpd"
    status, output = subject.run([subject.current / "bin" / script, "status"])
    told = output.strip().splitlines()[-1] if output.strip() else f"exit status {status}"
    again = f"bin/{script} restart; bin/{site.name} log tells more"
    if status == RUNNING:
        yield good(check, told)
    elif status == STOPPED:
        yield bad(check, f"{told}: somebody stopped it", f"bin/{script} start")
    elif status == DEAD:
        yield bad(check, told, f"bin/{script} start")
    elif status == SILENT:
        yield bad(check, told, again)
    else:
        yield bad(check, f"bin/{script} status: {told}", "bin/buildout, then look again")


def port(subject: Subject) -> Iterator[Finding]:
    """Compare the ports that the ini, the init script and Apache go by; see who has it."""
    check, site = "port", subject.site
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
            f"the ini says port {said or 'nothing'}, the init script and Apache {site.port}",
            "set port in [site] alone, and run bin/buildout",
        )
        return
    holders = _holders(subject)
    strangers = [pid for pid in holders if str(subject.settings.ini) not in command(pid)]
    if strangers and not _serves_an_ini(holders):
        yield bad(
            check,
            f"port {site.port} is held by process {strangers[0]} ({command(strangers[0])[:80]})",
            f"stop it, then: bin/{site.name} restart",
        )
    else:
        yield good(check, f"ini, init script and Apache agree on port {site.port}")


def _holders(subject: Subject) -> list[int]:
    """Return who listens on the site's port, but for its supervisor, which keeps it for servers."""
    found = listening.holders(listening.inodes(subject.settings.host, subject.site.port))
    return [pid for pid in found if not _is_supervisor(pid, subject)]


def _is_supervisor(pid: int, subject: Subject) -> bool:
    """Tell whether ``pid`` is the site's supervisor: the mark alone, a stranger may know."""
    marker = supervisor_marker(subject.settings.identity)
    try:
        environment = (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return False
    mark = os.fsencode(f"{marker.variable}={marker.identity}")
    return mark in environment.split(b"\0") and owner(pid) in (subject.owner.uid, os.getuid())


def _serves_an_ini(processes: list[int]) -> bool:
    return any(" serve " in command(pid) and ".ini" in command(pid) for pid in processes)


def ini(subject: Subject) -> Iterator[Finding]:
    """See that what listens was started with the live ini, since that was made."""
    check, wanted = "ini", str(subject.settings.ini)
    holders = _holders(subject) if subject.site.has_server else []
    if not holders:
        yield unknown(check, "no server of its own listens, or we may not see whose it is")
        return
    words = [word for pid in holders for word in command(pid).split() if word.endswith(".ini")]
    if not words:
        what = f"process {holders[0]} ({command(holders[0])[:80]})"
        yield unknown(check, f"{what} listens, and names no ini")
        return
    if wanted not in words:
        yield bad(
            check,
            f"port {subject.site.port} serves {words[0]}, not {wanted}",
            f"stop that server, then: bin/{subject.name} restart",
        )
        return
    flipped = subject.current.lstat().st_mtime
    since = min(started(pid) or time.time() for pid in holders)
    if since < flipped - 1:
        yield bad(
            check,
            "the server was started before the current release: it serves an older ini",
            f"bin/{subject.name} restart",
        )
    else:
        yield good(check, f"{wanted} is served")


def private(subject: Subject) -> Iterator[Finding]:
    """See that only this machine reaches the backend."""
    check, number = "backend-private", subject.site.port
    if not subject.site.has_server:
        yield unknown(check, "no server of its own in this mode")
        return
    found = [s.address for s in listening.listeners() if s.port == number]
    if not found:
        yield unknown(check, f"nobody listens on port {number}")
        return
    if others := [a for a in found if not a.is_loopback]:
        yield bad(
            check,
            f"port {number} answers on {others[0]}: anybody may pass Apache by",
            "set host = 127.0.0.1 in [server:main], run bin/buildout and restart; till then, "
            f"iptables -A INPUT -p tcp --dport {number} ! -i lo -j DROP",
        )
    else:
        yield good(check, f"port {number} answers this machine alone")


def application(subject: Subject) -> Iterator[Finding]:
    """Ask the application itself, past Apache if it can be."""
    check, settings = "application", subject.settings
    if not subject.site.has_server:
        yield unknown(check, "see visit: Apache runs it")
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
    """See that the accounts exist."""
    check, user = "account", subject.site.user
    if subject.owner.uid < 0:
        yield bad(
            check,
            f"there is no account {user} on this machine",
            f"adduser --system --group {user}, then bin/buildout",
        )
    else:
        yield good(check, f"{user} exists (number {subject.owner.uid})")
