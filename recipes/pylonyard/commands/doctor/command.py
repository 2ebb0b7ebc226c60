"""Run ``bin/pylonyard doctor``; this module has the table of all checks."""

import contextlib
import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from pylonyard.activation import journal as journals
from pylonyard.activation.activate import Activation
from pylonyard.buildout import last_run
from pylonyard.commands.doctor import hello_world, logs, machine, permissions, server, webserver
from pylonyard.commands.doctor.check import Finding, Subject, bad, unknown
from pylonyard.releases import servers
from pylonyard.releases.contents import described_sites
from pylonyard.releases.store import Releases
from pylonyard.server.settings import load
from pylonyard.server.status import STOPPED
from pylonyard.system import progress, relocation, safe_files
from pylonyard.system.errors import ActivationError, ServerError
from pylonyard.system.relocation import MovedSandbox
from pylonyard.webservers.registry import WebServer

MEND_AND_RUN = "correct that, then: bin/buildout"


@dataclasses.dataclass(frozen=True)
class SandboxState:
    """The state of the sandbox itself, found before the checks."""

    moved: MovedSandbox | None = None
    tools_problem: str = ""
    """Why the tools that buildout needs cannot be used; empty if they can."""


def report(
    releases: Releases,
    activation: Activation,
    stream: TextIO,
    state: SandboxState | None = None,
    *,
    as_json: bool = False,
    whole: bool = False,
) -> int:
    """Print the findings; return 1 if one is red.

    :param whole: print each finding; JSON always has all
    """
    found = all_findings(releases, activation, state or SandboxState())
    if as_json:
        return 0 if write_json(found, stream) else 1
    return 0 if write_lines(found, stream, whole=whole) else 1


def all_findings(
    releases: Releases, activation: Activation, state: SandboxState | None = None
) -> Iterator[Finding]:
    """Yield the findings of the sandbox, and of each site of the current release."""
    state = state or SandboxState()
    if state.tools_problem:
        yield bad("tools", state.tools_problem, relocation.how_to_make_anew(activation.sandbox))
    number = releases.current_number()
    if state.moved:
        yield from _moved_sandbox(state.moved, releases, activation)
    elif number is None:
        yield _no_release(releases, last_run.failure(activation.sandbox))
    else:
        if failed := last_run.failure(activation.sandbox):
            text = f"bin/buildout failed at {failed.when}, and changed nothing: {failed.text}"
            yield Finding("last-run", None, text, MEND_AND_RUN)
        yield from _release_findings(releases, activation, number)


def _no_release(releases: Releases, failed: last_run.Failure | None) -> Finding:
    if numbers := releases.numbers():
        advice = f"bin/pylonyard rollback {numbers[-1]}"
        return bad("release", f"{releases.current} leads to no release", advice)
    if failed:
        return bad("release", f"there is none: bin/buildout failed: {failed.text}", MEND_AND_RUN)
    return bad("release", "there is none yet", "bin/buildout")


def _moved_sandbox(
    moved: MovedSandbox, releases: Releases, activation: Activation
) -> Iterator[Finding]:
    """Yield findings of a sandbox that was moved: other checks would use its old paths."""
    what, _, advice = moved.message.partition(": ")
    yield bad("sandbox", what, advice)
    if moved.is_copy:
        return
    with contextlib.suppress(ActivationError):
        noted = dataclasses.replace(activation, sandbox=moved.made).note()
        if noted and noted.release is not None:
            steps = "run bin/pylonyard deactivate there as root, and move it again"
            back = f"move it back to {moved.made}, {steps}"
            yield bad("active-files", f"/etc has files of {moved.made}, which is gone", back)
    with contextlib.suppress(ActivationError, ServerError):
        folder = releases.current.resolve()
        _check_regular_files(folder)
        for site in described_sites(folder):
            if site.has_server:
                status, said = servers.run_command(folder / "bin" / site.name, "status", site.user)
                stop = "" if status == STOPPED else f"bin/{site.name} stop, if it should not go on"
                yield Finding("server-running", None, said, stop, site.name)


def _release_findings(releases: Releases, activation: Activation, number: int) -> Iterator[Finding]:
    """Yield the findings of each site of a release."""
    journal, journal_problem = _journal(activation)
    try:
        _check_regular_files(releases.path(number))
        sites = described_sites(releases.path(number))
    except (ActivationError, ServerError) as error:
        yield bad("release", str(error), "bin/pylonyard rollback")
        return
    if not sites:
        yield bad("release", f"release {number} has no site", "bin/buildout")
    for site in sites:
        try:
            settings = load(releases.current / site.name / "server.json")
        except ServerError as error:
            yield Finding("release", False, str(error), "bin/pylonyard rollback", site.name)
            continue
        subject = Subject(
            site, settings, releases.current, activation.tree, journal, journal_problem
        )
        for finding in site_findings(subject):
            yield dataclasses.replace(finding, site=site.name)


def _check_regular_files(release: Path) -> None:
    """Check that the sites' JSON files are regular files, so that reading them cannot hang.

    :raises ServerError: if one is a pipe, for example
    """
    for name in ("server.json", "site.json"):
        for path in release.glob(f"*/{name}"):
            safe_files.check_plain(path)


def _journal(activation: Activation) -> tuple[journals.Journal | None, str]:
    """Return the journal, and what is wrong with it; None if it cannot be read."""
    place = activation.tree.path(journals.name_of(activation.sandbox))
    try:
        return journals.load(activation.tree, activation.sandbox), ""
    except PermissionError:
        return None, ""
    except ActivationError as error:
        return None, f"{place}: {str(error).removeprefix(f'{place}: ')}"
    except Exception as error:  # any error that a damaged text can cause
        return None, f"{place}: expected a journal of activations, got {error!r}"


# The table of all checks, in the order in which a person would make them.


Check = Callable[[Subject], Iterator[Finding]]


def checks(one: WebServer) -> dict[str, Check]:
    """Return the checks of a site that a web server serves.

    Each has the name in the first finding that it yields.
    """
    return {
        "account": server.account,
        "server-running": server.running,
        "port": server.port,
        "ini": server.ini,
        "backend-private": server.private,
        "application": server.application,
        f"{one.name}-running": webserver.running,
        f"{one.name}-config": webserver.config,
        "site-enabled": webserver.enabled,
        "modules": webserver.modules,
        "virtual-host": webserver.shadowed,
        **one.checks(),
        "visit": webserver.visit,
        "hello": hello_world.hello,
        f"{one.name}-log": logs.webserver,
        "site-log": logs.site,
        "server-log": logs.server,
        "code-readable": permissions.code,
        "data-writable": permissions.data,
        "ini-private": permissions.ini_private,
        "debug": server.debug,
        "release-intact": server.intact,
        "active-files": machine.active,
        "init-script": machine.init,
        "cron-entry": machine.cron,
        "disk": machine.disk,
        "certificate": machine.certificate,
    }


MENDED_BY_ACTIVATION = ("server-running", "port", "ini", "site-enabled", "modules", "virtual-host")
"""Checks that an activation mends if the live release is not active yet.

A web server and the site's own have to agree on these, so neither may change alone.
"""


def site_findings(subject: Subject) -> Iterator[Finding]:
    """Yield the findings of every check; report a check that raises an error."""
    for name, check in checks(subject.webserver).items():
        try:
            for found in check(subject):
                is_due = (
                    found.ok is False
                    and found.check in MENDED_BY_ACTIVATION
                    and machine.is_behind(subject)
                )
                yield replace(found, advice="bin/pylonyard activate") if is_due else found
        except ActivationError as error:
            # A path that root must not trust; the message has the advice.
            what, _, advice = str(error).partition("; ")
            yield bad(name, what, advice)
        except Exception as error:  # the other checks have to run all the same
            yield unknown(name, f"could not be checked: {error!r}")


# Output: lines, or JSON.


FORMAT = 1
"""The version of the JSON object."""

MARKS = {True: "ok", False: "FAIL", None: "-"}
COLOURS = {True: "\x1b[32m", False: "\x1b[31;1m", None: "\x1b[2m"}
PLAIN = "\x1b[0m"


def line(finding: Finding, *, coloured: bool = False) -> str:
    """Return a finding as a line, and its advice as a second line."""
    mark = f"{MARKS[finding.ok]:<4}"
    if coloured:
        mark = f"{COLOURS[finding.ok]}{mark}{PLAIN}"
    text = f"{mark}  {finding.check:<19} {_one_line(finding.text)}"
    return f"{text}\n      {'':<19} -> {finding.advice}" if finding.advice else text


def _one_line(text: str) -> str:
    """Replace control characters by blanks."""
    return "".join(c if c.isprintable() else " " for c in text)


def write_lines(findings: Iterable[Finding], stream: TextIO, *, whole: bool = False) -> bool:
    """Write findings as they come; return whether none is red.

    :param whole: write also those without advice
    """
    site, red, folded = None, 0, Counter[bool | None]()
    grey: dict[str, list[str]] = {}
    coloured = progress.is_coloured(stream)
    for finding in findings:
        progress.clear()
        if finding.site != site:
            _write_unchecked(grey, stream, coloured=coloured)
            site = finding.site
            stream.write(f"{site}:\n" if site else "")
        is_quiet = finding.ok is not False and not finding.advice
        if is_quiet and not whole:
            folded[finding.ok] += 1
        elif is_quiet and finding.ok is None:
            grey.setdefault(finding.text, []).append(finding.check)
        else:
            stream.write(line(finding, coloured=coloured) + "\n")
            stream.flush()
        red += finding.ok is False
    _write_unchecked(grey, stream, coloured=coloured)
    stream.write((f"{red} red" if red else "nothing is red") + _summary_of_hidden(folded) + "\n")
    return not red


def _summary_of_hidden(folded: Mapping[bool | None, int]) -> str:
    """Return how many findings were not shown, and how to see them."""
    texts = [f"{folded[True]} ok"] if folded.get(True) else []
    texts += [f"{folded[None]} not checked"] if folded.get(None) else []
    return f"; {', '.join(texts)} (--all shows each, and why)" if texts else ""


def _write_unchecked(grey: dict[str, list[str]], stream: TextIO, *, coloured: bool) -> None:
    """Write the checks that could not be made, a line for each reason, and clear ``grey``."""
    for why, checks in grey.items():
        more = f" (also: {', '.join(checks[1:])})" if checks[1:] else ""
        stream.write(line(Finding(checks[0], None, why + more), coloured=coloured) + "\n")
    grey.clear()


def write_json(findings: Iterable[Finding], stream: TextIO) -> bool:
    """Write all findings as one JSON object; return whether none is red."""
    found = list(findings)
    healthy = all(finding.ok is not False for finding in found)
    texts = [finding.to_json() for finding in found]
    content = {"version": FORMAT, "ok": healthy, "findings": texts}
    stream.write(json.dumps(content, indent=1) + "\n")
    return healthy
