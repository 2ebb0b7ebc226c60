"""The table of all checks, in the order in which a person would look."""

from collections.abc import Callable, Iterator, Sequence

from pylonyard.doctor import apache, files, hello, logs, machine, server
from pylonyard.doctor.findings import Finding
from pylonyard.doctor.subject import Subject

Check = Callable[[Subject], Iterator[Finding]]

CHECKS: Sequence[tuple[str, Sequence[Check]]] = (
    (
        "server",
        (
            server.account,
            server.running,
            server.port,
            server.ini,
            server.private,
            server.application,
        ),
    ),
    (
        "Apache",
        (
            apache.running,
            apache.config,
            apache.enabled,
            apache.modules,
            apache.shadowed,
            apache.loaded,
            apache.linked,
            apache.visit,
            hello.hello,
        ),
    ),
    ("logs", (logs.apache, logs.site, logs.server)),
    (
        "files",
        (
            files.code,
            files.data,
            files.ini_private,
            files.debug,
            files.intact,
            files.active,
            files.init,
            files.cron,
        ),
    ),
    ("machine", (machine.disk, machine.certificate)),
)


def findings(subject: Subject) -> Iterator[Finding]:
    """Yield what every check finds; one that fails itself is told, not raised."""
    for _, group in CHECKS:
        for check in group:
            try:
                yield from check(subject)
            except Exception as error:  # a night call needs the other checks
                name = f"{check.__module__.rpartition('.')[2]}-{check.__name__}"
                yield Finding(name, None, f"could not be checked: {error!r}")
