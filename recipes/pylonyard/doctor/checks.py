"""The table of all checks, in the order in which a person would look."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from pylonyard.activation.errors import ActivationError
from pylonyard.doctor import apache, etc, files, hello, logs, machine, server
from pylonyard.doctor.findings import Finding, bad, unknown
from pylonyard.doctor.subject import Subject

Check = Callable[[Subject], Iterator[Finding]]

CHECKS: Mapping[str, Check] = {
    "account": server.account,
    "server-running": server.running,
    "port": server.port,
    "ini": server.ini,
    "backend-private": server.private,
    "application": server.application,
    "apache-running": apache.running,
    "apache-config": apache.config,
    "site-enabled": apache.enabled,
    "modules": apache.modules,
    "virtual-host": apache.shadowed,
    "mod_wsgi": apache.loaded,
    "mod_wsgi-python": apache.linked,
    "visit": apache.visit,
    "hello": hello.hello,
    "apache-log": logs.apache,
    "site-log": logs.site,
    "server-log": logs.server,
    "code-readable": files.code,
    "data-writable": files.data,
    "ini-private": files.ini_private,
    "debug": files.debug,
    "release-intact": files.intact,
    "active-files": etc.active,
    "init-script": etc.init,
    "cron-entry": etc.cron,
    "disk": machine.disk,
    "certificate": machine.certificate,
}
"""By the name of the first line of each."""

WAITING = ("server-running", "port", "ini", "site-enabled", "modules", "virtual-host")
"""What an activation puts right where the live release is not active yet.

What Apache and a server have to agree on, neither is to change without the other.
"""


def findings(subject: Subject) -> Iterator[Finding]:
    """Yield what every check finds; one that fails itself is told, not raised."""
    for name, check in CHECKS.items():
        try:
            for found in check(subject):
                is_due = found.ok is False and found.check in WAITING and etc.is_behind(subject)
                yield replace(found, advice="bin/pylonyard activate") if is_due else found
        except ActivationError as error:
            # A place that root must not trust; the line says what to do about it.
            what, _, advice = str(error).partition("; ")
            yield bad(name, what, advice)
        except Exception as error:  # a night call needs the other checks
            yield unknown(name, f"could not be checked: {error!r}")
