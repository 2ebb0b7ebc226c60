"""``bin/pylonyard doctor``, whole."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from pylonyard import last_run, leaving, whereabouts
from pylonyard.activation import journal as journals
from pylonyard.activation.commands import Activation
from pylonyard.activation.errors import ActivationError
from pylonyard.activation.sources import described_sites
from pylonyard.doctor import reading, showing
from pylonyard.doctor.checks import findings
from pylonyard.doctor.findings import Finding, bad
from pylonyard.doctor.subject import Subject
from pylonyard.releases import Releases
from pylonyard.server.errors import ServerError
from pylonyard.server.report import STOPPED
from pylonyard.server.settings import load
from pylonyard.whereabouts import Astray

AGAIN = "mend that, then: bin/buildout"


@dataclasses.dataclass(frozen=True)
class State:
    """What is known of the sandbox before anything of it is looked at."""

    astray: Astray | None = None
    lacking: str = ""
    """Why the tools, on which buildout runs, cannot be had."""


def examine(
    releases: Releases,
    activation: Activation,
    stream: TextIO,
    state: State | None = None,
    *,
    as_json: bool = False,
    whole: bool = False,
) -> int:
    """Tell what is found; return 1 if something is red.

    :param whole: whether each finding has a line; as JSON all are there anyway
    """
    found = examined(releases, activation, state or State())
    if as_json:
        return 0 if showing.as_json(found, stream) else 1
    return 0 if showing.as_lines(found, stream, whole=whole) else 1


def examined(
    releases: Releases, activation: Activation, state: State | None = None
) -> Iterator[Finding]:
    """Yield what is found of the sandbox, and of each site of the current release."""
    state = state or State()
    if state.lacking:
        yield bad("tools", state.lacking, whereabouts.how_to_make_anew(activation.sandbox))
    number = releases.current_number()
    if state.astray:
        yield from _astray(state.astray, releases, activation)
    elif number is None:
        yield _no_release(releases, last_run.failure(activation.sandbox))
    else:
        if failed := last_run.failure(activation.sandbox):
            told = f"bin/buildout failed at {failed.when}, and changed nothing: {failed.text}"
            yield Finding("last-run", None, told, AGAIN)
        yield from _of_release(releases, activation, number)


def _no_release(releases: Releases, failed: last_run.Failure | None) -> Finding:
    if numbers := releases.numbers():
        advice = f"bin/pylonyard rollback {numbers[-1]}"
        return bad("release", f"{releases.current} leads to no release", advice)
    if failed:
        return bad("release", f"there is none: bin/buildout failed: {failed.text}", AGAIN)
    return bad("release", "there is none yet", "bin/buildout")


def _astray(astray: Astray, releases: Releases, activation: Activation) -> Iterator[Finding]:
    """Yield what became of a sandbox, and whether its servers run: all else is of paths."""
    what, _, advice = astray.told.partition(": ")
    yield bad("sandbox", what, advice)
    if astray.is_copy:
        return
    with contextlib.suppress(ActivationError):
        noted = dataclasses.replace(activation, sandbox=astray.made).noted()
        if noted and noted.release is not None:
            steps = "run bin/pylonyard deactivate there as root, and move it again"
            back = f"move it back to {astray.made}, {steps}"
            yield bad("active-files", f"/etc has files of {astray.made}, which is gone", back)
    with contextlib.suppress(ActivationError, ServerError):
        folder = releases.current.resolve()
        _check_plain(folder)
        for site in described_sites(folder):
            if site.has_server:
                status, said = leaving.asked(folder / "bin" / site.name, "status", site)
                stop = "" if status == STOPPED else f"bin/{site.name} stop, if it is not to go on"
                yield Finding("server-running", None, said, stop, site.name)


def _of_release(releases: Releases, activation: Activation, number: int) -> Iterator[Finding]:
    """Yield what is found of each site of a release."""
    journal, journal_problem = _journal(activation)
    try:
        _check_plain(releases.path(number))
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
        for finding in findings(subject):
            yield dataclasses.replace(finding, site=site.name)


def _check_plain(release: Path) -> None:
    """See that the descriptions of the sites can be read without waiting for ever.

    :raises ServerError: if one is a pipe, say
    """
    for name in ("server.json", "site.json"):
        for path in release.glob(f"*/{name}"):
            reading.check_plain(path)


def _journal(activation: Activation) -> tuple[journals.Journal | None, str]:
    """Return the journal if it can be read, and what is wrong with it if it is damaged."""
    place = activation.tree.path(journals.name_of(activation.sandbox))
    try:
        return journals.load(activation.tree, activation.sandbox), ""
    except PermissionError:
        return None, ""
    except ActivationError as error:
        return None, f"{place}: {str(error).removeprefix(f'{place}: ')}"
    except Exception as error:  # whatever its text leads to
        return None, f"{place}: expected a journal of activations, got {error!r}"
