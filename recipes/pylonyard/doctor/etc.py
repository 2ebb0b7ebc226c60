"""Whether what was laid over ``/etc`` is as released, and takes effect."""

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from pylonyard.activation.entries import ABSENT, Entry
from pylonyard.activation.world import RUN_LEVELS_STARTED, registered
from pylonyard.doctor.findings import Finding, bad, good, unknown
from pylonyard.doctor.subject import Subject
from pylonyard.server.files import read_plainly

ACTIVATE = "bin/pylonyard activate"
LAY_ANEW = f"{ACTIVATE} --force-new"


def active(subject: Subject) -> Iterator[Finding]:
    """See that ``/etc`` has what the live release has for it."""
    check, journal = "active-files", subject.journal
    if subject.journal_problem:
        what, _, advice = subject.journal_problem.partition("; ")
        yield bad(check, what, advice or f"move it elsewhere, then: {ACTIVATE}")
        return
    if journal is None or journal.release is None:
        why = "only root may know" if journal is None else "no release was activated"
        yield _as_copied(subject) or unknown(check, why)
        return
    if journal.is_cut_short:
        yield bad(check, "an activation was cut short", ACTIVATE)
        return
    current = subject.current.resolve().name
    if is_behind(subject):
        yield bad(
            check,
            f"release {journal.release} is active, and {current} is current",
            ACTIVATE,
        )
        return
    for name, digest in journal.laid.items():
        if Path(name).stem not in (subject.name, "wsgi"):
            continue
        entry = subject.tree.read(name)
        if entry.digest != digest:
            what = "is missing" if entry == ABSENT else "was edited"
            yield bad(check, f"{name} {what}", f"{LAY_ANEW}  # keeps what is there")
            return
        if entry.mode & 0o022 or entry.uid not in (0, os.geteuid()):
            yield bad(check, f"others than root can change {name}", ACTIVATE)
            return
    yield good(check, f"/etc has what release {current} has for it")


def is_behind(subject: Subject) -> bool:
    """Whether what is active is another release than the live one, and not the same as it."""
    active = subject.journal.release if subject.journal else None
    if active is None or str(active) == subject.current.resolve().name:
        return False
    return not _is_same(subject, active)


def _is_same(subject: Subject, active: int) -> bool:
    """Whether the live release lays over ``/etc`` what the active one does."""
    live = subject.current.resolve()
    laid = [_laid(folder) for folder in (live.with_name(str(active)), live)]
    return bool(laid[0]) and laid[0] == laid[1]


def _laid(release: Path) -> dict[str, bytes]:
    """Return what activation goes by, of a release."""
    places = [*release.glob("etc/**/*"), *release.glob("*/site.json")]
    files = [path for path in places if path.is_file()]
    return {str(path.relative_to(release)): read_plainly(path) for path in files}


def _as_copied(subject: Subject) -> Finding | None:
    """Compare what somebody copied to ``/etc`` by hand with the live release."""
    if not subject.is_laid:
        return None
    released = subject.current / "etc"
    found = 0
    for path in sorted(path for path in released.rglob("*") if path.stem == subject.name):
        name = f"/etc/{path.relative_to(released)}"
        entry = subject.tree.read(name)
        if entry.kind != "file":
            continue
        found += 1
        if entry.content != read_plainly(path):
            again = shlex.join(["cp", str(path), str(subject.tree.path(name))])
            return bad("active-files", f"{name} is not what the current release has", again)
    text = f"{found} files were copied to /etc, all as released"
    return good("active-files", text) if found else None


def cron(subject: Subject) -> Iterator[Finding]:
    """See that cron does not ignore the entry."""
    check, name = "cron-entry", f"/etc/cron.d/{subject.name}"
    journal = subject.journal
    if not subject.site.has_server or journal is None or name not in journal.laid:
        yield unknown(check, "no entry was activated, or we may not know")
        return
    entry = subject.tree.read(name)
    if entry == ABSENT:
        yield bad(check, f"{name} is missing", LAY_ANEW)
    elif not _is_read(entry):
        what = f"cron ignores {name}: expected a file of root's that others cannot write"
        yield bad(check, what, ACTIVATE if entry.digest == journal.laid[name] else LAY_ANEW)
    else:
        yield good(check, f"cron reads {name}")


def _is_read(entry: Entry) -> bool:
    """Tell whether cron reads a file; what others wrote is not to become root's."""
    is_roots = entry.kind == "file" and not entry.uid and not entry.mode & 0o022
    return is_roots and entry.content.endswith(b"\n")


def init(subject: Subject) -> Iterator[Finding]:
    """See that the site comes up with the machine."""
    check, name = "init-script", f"/etc/init.d/{subject.name}"
    journal = subject.journal
    if not subject.site.has_server or journal is None or name not in journal.laid:
        yield unknown(check, "no script was activated, or we may not know")
    elif not subject.tree.read(name).mode & 0o100:
        yield bad(check, f"{name} is missing, or cannot be run", ACTIVATE)
    elif subject.name not in registered(subject.tree):
        levels = f"no run level of {RUN_LEVELS_STARTED} starts it"
        yield bad(check, levels, f"update-rc.d {shlex.quote(subject.name)} defaults")
    else:
        yield good(check, f"{name} is started with the machine")
