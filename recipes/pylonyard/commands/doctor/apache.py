"""Whether Apache runs, reads this site, answers for it, loads the right mod_wsgi."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from pylonyard.activation.host.apache import request
from pylonyard.activation.host.facts import APACHE
from pylonyard.commands.doctor.context import Subject
from pylonyard.commands.doctor.findings import Finding, bad, good, unknown
from pylonyard.commands.doctor.machine import ACTIVATE_FORCED
from pylonyard.system.errors import ActivationError
from pylonyard.system.subprocesses import PROGRAM_PATH
from pylonyard.webservers.apache.virtual_hosts import first_elsewhere, virtual_hosts

NOT_LAID = "the site is not activated"
RELOAD = "apache2ctl configtest && service apache2 reload"
RESTART = "apache2ctl configtest && service apache2 restart"
"""Apache that is told to restart with a bad configuration serves nobody any more."""


def running(subject: Subject) -> Iterator[Finding]:
    check = "apache-running"
    if not subject.is_laid:
        yield unknown(check, NOT_LAID)
    elif process := subject.httpd.pid:
        yield good(check, f"Apache runs, process {process}")
    else:
        yield bad(check, "Apache does not run", "service apache2 start; journalctl -u apache2")


def config(subject: Subject) -> Iterator[Finding]:
    check = "apache-config"
    if not subject.is_laid:
        yield unknown(check, NOT_LAID)
        return
    try:
        subject.httpd.test()
    except ActivationError as error:
        yield bad(
            check,
            f"Apache refuses its configuration: {error}",
            f"mend that line; if it is of this site: {ACTIVATE_FORCED}",
        )
    else:
        yield good(check, "Apache accepts its whole configuration")


def enabled(subject: Subject) -> Iterator[Finding]:
    check, name = "site-enabled", subject.name
    if not subject.is_laid:
        yield unknown(check, NOT_LAID)
        return
    link = f"{APACHE}/sites-enabled/{name}.conf"
    entry = subject.tree.read(link)
    if entry.kind == "absent":
        yield bad(check, f"the site {name} is not enabled", f"a2ensite {name} && {RELOAD}")
    elif not subject.tree.path(link).exists():
        yield bad(check, f"the link of site {name} leads nowhere", "bin/pylonyard activate")
    elif entry.kind != "link":
        what = f"{link} is a copy, which no change of the site reaches"
        aside = f"mv --backup=numbered {link} {APACHE}/sites-available/{name}.conf.copy"
        yield bad(check, what, f"{aside} && a2ensite {name} && {RELOAD}")
    else:
        yield good(check, f"the site {name} is enabled")


def modules(subject: Subject) -> Iterator[Finding]:
    check = "modules"
    if not subject.is_laid:
        yield unknown(check, NOT_LAID)
        return
    names = set(subject.tree.names(f"{APACHE}/mods-enabled"))
    missing = [name for name in subject.site.modules if f"{name}.load" not in names]
    if missing:
        words = " ".join(missing)
        yield bad(check, f"not enabled: {words}", f"a2enmod {words} && {RESTART}")
    else:
        yield good(check, "all modules that the site needs are enabled")


def shadowed(subject: Subject) -> Iterator[Finding]:
    """See that no other virtual host has the site's name, or answers before it."""
    check, site = "virtual-host", subject.site
    listed = subject.apache("-S") if subject.is_laid else ""
    if not listed:
        yield unknown(check, "Apache tells nothing of it" if subject.is_laid else NOT_LAID)
        return
    answering = [host for host in virtual_hosts(listed) if host.answers_for(site.server_name)]
    if rival := first_elsewhere(answering, f"{site.name}.conf"):
        yield bad(
            check,
            f"{rival.file} answers for {site.server_name} before {site.name}.conf does",
            f"give it another {rival.by(site.server_name)}, or, if nobody needs it: "
            f"a2dissite {rival.file.stem} && {RELOAD}",
        )
    elif not answering:
        yield bad(
            check,
            f"no virtual host is named {site.server_name}",
            f"a2ensite {site.name}; compare: apache2ctl -S",
        )
    else:
        yield good(check, f"{site.server_name} is served by {site.name}.conf")


def visit(subject: Subject) -> Iterator[Finding]:
    """Visit the site as a browser would: at its private Apache, if that is what runs it."""
    check, site = "visit", subject.site
    address, places = subject.front
    if not places:
        yield unknown(check, f"{subject.current / site.name / 'httpd.conf'} cannot be read")
    elif (site.has_server or subject.owner.uid < 0) and not subject.is_laid:
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
        # Apache asks elsewhere: it still has files of an earlier release.
        what = RELOAD
    else:
        what = f"bin/{site.name} start" if backend else f"see site-log; bin/{site.name} log"
    return bad(check, f"{where} answers {status}", what)


def _how_to_be_answered(subject: Subject) -> str:
    if subject.is_by_private_apache:
        return f"bin/{subject.name}-httpd restart"
    if not subject.httpd.pid:
        return "see apache-running and apache-config"
    if subject.answers.get("application") is False:
        return "see server-running and application"
    return f"see apache-config, then: {RESTART}"


def loaded(subject: Subject) -> Iterator[Finding]:
    check = "mod_wsgi"
    if subject.site.has_server or not subject.is_laid:
        yield unknown(check, NOT_LAID if not subject.site.has_server else "not used in this mode")
        return
    listed = subject.apache("-M")
    if not listed:
        yield unknown(check, "Apache tells nothing of its modules")
    elif "wsgi_module" not in listed:
        yield bad(check, "Apache does not load mod_wsgi", f"a2enmod wsgi && {RESTART}")
    else:
        yield good(check, "Apache loads mod_wsgi")


def linked(subject: Subject) -> Iterator[Finding]:
    """See that the module that Apache loads is for the sandbox's own Python."""
    check, module = "mod_wsgi-python", _module(subject)
    if subject.site.has_server or module is None:
        yield unknown(check, "no mod_wsgi is loaded")
        return
    wanted = _python_of(subject.current / subject.name / "env")
    if not module.is_file():
        yield bad(check, f"{module} is missing", "bin/buildout builds it again; activate it")
        return
    output = subprocess.run(["ldd", module], env={"PATH": PROGRAM_PATH}, capture_output=True)
    found = re.findall(rb"libpython(\d+\.\d+)\S* => (\S+)", output.stdout)
    versions = [version.decode() for version, _ in found]
    if found and found[0][1] == b"not":
        yield bad(check, f"{module} does not find libpython{versions[0]}", "bin/buildout")
    elif versions and versions[0] != wanted:
        yield bad(
            check,
            f"{module} is for Python {versions[0]}, the sandbox for {wanted}",
            f"if no other site needs that one: {ACTIVATE_FORCED}",
        )
    elif not versions and module != subject.site.module:
        yield bad(
            check,
            f"Apache loads {module}, the release has {subject.site.module}",
            f"if no other site needs that one: {ACTIVATE_FORCED}",
        )
    else:
        yield good(check, f"mod_wsgi and the sandbox are both for Python {wanted}")


def _module(subject: Subject) -> Path | None:
    """Return the module that Apache loads; that of the release if it is not laid."""
    text = subject.tree.read(f"{APACHE}/mods-available/wsgi.load").content.decode(errors="replace")
    found = re.findall(r'(?m)^\s*LoadModule\s+wsgi_module\s+"?([^"\n]+?)"?\s*$', text)
    return Path(found[0]) if found and subject.is_laid else subject.site.module


def _python_of(home: Path) -> str:
    names = [path.name for path in (home / "lib").glob("python[0-9]*")]
    return names[0].removeprefix("python") if names else "unknown"
