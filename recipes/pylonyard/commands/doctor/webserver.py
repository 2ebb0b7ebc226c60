"""Check that the web server runs, has this site's file, and answers for its name."""

from collections.abc import Iterator
from pathlib import Path

from pylonyard.activation.host.visits import request
from pylonyard.commands.doctor.check import ACTIVATE_FORCED, Finding, Subject, bad, good, unknown
from pylonyard.system.errors import ActivationError
from pylonyard.webservers.registry import NOT_LAID


def running(subject: Subject) -> Iterator[Finding]:
    one = subject.webserver
    check = f"{one.name}-running"
    if not subject.is_activated:
        yield unknown(check, NOT_LAID)
    elif process := subject.machine.pid:
        yield good(check, f"{one.title} runs, process {process}")
    else:
        yield bad(check, f"{one.title} does not run", f"{one.start}; journalctl -u {one.service}")


def config(subject: Subject) -> Iterator[Finding]:
    one = subject.webserver
    check = f"{one.name}-config"
    if not subject.is_activated:
        yield unknown(check, NOT_LAID)
        return
    try:
        subject.machine.test()
    except ActivationError as error:
        yield bad(
            check,
            f"{one.title} refuses its configuration: {error}",
            f"correct that line; if it belongs to this site: {ACTIVATE_FORCED}",
        )
    else:
        yield good(check, f"{one.title} accepts its whole configuration")


def enabled(subject: Subject) -> Iterator[Finding]:
    check, name, one = "site-enabled", subject.name, subject.webserver
    if not subject.is_activated:
        yield unknown(check, NOT_LAID)
        return
    link, enable = one.link(name), one.command_text(one.enable(name))
    entry = subject.tree.read(link)
    if entry.kind == "absent":
        yield bad(check, f"the site {name} is not enabled", f"{enable} && {one.safe_reload}")
    elif not subject.tree.path(link).exists():
        yield bad(check, f"the link of site {name} leads nowhere", "bin/pylonyard activate")
    elif entry.kind != "link":
        what = f"{link} is a copy, which no change of the site reaches"
        aside = f"mv --backup=numbered {link} {one.site_file(name)}.copy"
        yield bad(check, what, f"{aside} && {enable} && {one.safe_reload}")
    else:
        yield good(check, f"the site {name} is enabled")


def modules(subject: Subject) -> Iterator[Finding]:
    check = "modules"
    if not subject.is_activated:
        yield unknown(check, NOT_LAID)
        return
    there = subject.machine.state().enabled_modules
    missing = [name for name in subject.site.modules if name not in there]
    if missing:
        enable = subject.webserver.enable_modules(missing)
        advice = f"{subject.webserver.command_text(enable)} && {subject.webserver.safe_restart}"
        yield bad(check, f"not enabled: {' '.join(missing)}", advice)
    else:
        yield good(check, "all modules that the site needs are enabled")


def shadowed(subject: Subject) -> Iterator[Finding]:
    """Check that no other virtual host has the site's name, or answers before it."""
    check, site, one = "virtual-host", subject.site, subject.webserver
    if not subject.is_activated:
        yield unknown(check, NOT_LAID)
        return
    try:
        found = subject.machine.first_answering(site.server_name, site.name)
    except ActivationError:
        yield unknown(check, f"{one.title} says nothing about it")
        return
    ours = Path(one.site_file(site.name)).name
    if found is None:
        yield bad(
            check,
            f"no virtual host is named {site.server_name}",
            f"{one.command_text(one.enable(site.name))}; compare: {one.hosts}",
        )
    elif found.file.name != ours:
        disable = one.command_text(one.disable(found.file.name.removesuffix(one.suffix)))
        yield bad(
            check,
            f"{found.file} answers for {site.server_name} before {ours} does",
            f"give it another {found.by}, or, if nobody needs it: {disable} && {one.safe_reload}",
        )
    else:
        yield good(check, f"{site.server_name} is served by {ours}")


def visit(subject: Subject) -> Iterator[Finding]:
    """Request the site as a browser does; at its private web server if that serves it."""
    check, site = "visit", subject.site
    address, places = subject.webserver_address
    if not places:
        yield unknown(check, f"{subject.private_file} cannot be read")
    elif (site.has_server or subject.owner.uid < 0) and not subject.is_activated:
        yield unknown(check, NOT_LAID)
    else:
        found = [_visited(subject, address, port, secure) for port, secure in places]
        worst = next((each for each in found if not each.ok), found[-1])
        if not site.has_server:
            subject.answers[check] = worst.ok is True
        yield worst


def _visited(subject: Subject, address: str, port: int, secure: bool) -> Finding:
    check, site = "visit", subject.site
    where = f"http{'s' * secure}://{site.server_name}:{port}/"
    try:
        status = request(address, port, site.server_name, secure=secure, timeout=20)
    except ActivationError as error:
        return bad(check, f"{where}: {error}", _how_to_be_answered(subject))
    if status < 500:
        return good(check, f"{where} answers {status}")
    backend = status in (502, 503, 504) and site.has_server
    if backend and subject.answers.get("application"):
        # The web server asks elsewhere: it still has files of an earlier release.
        what = subject.webserver.safe_reload
    else:
        what = f"bin/{site.name} start" if backend else f"see site-log; bin/{site.name} log"
    return bad(check, f"{where} answers {status}", what)


def _how_to_be_answered(subject: Subject) -> str:
    one = subject.webserver
    if subject.is_served_by_private:
        return f"bin/{one.private_command(subject.name)} restart"
    if not subject.machine.pid:
        return f"see {one.name}-running and {one.name}-config"
    if subject.answers.get("application") is False:
        return "see server-running and application"
    return f"see {one.name}-config, then: {one.safe_restart}"
