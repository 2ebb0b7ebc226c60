"""``bin/pylonyard doctor``, whole."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

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
from pylonyard.server.settings import load


def examine(
    releases: Releases, activation: Activation, stream: TextIO, *, as_json: bool = False
) -> int:
    """Tell all findings; return 1 if one is red."""
    found = examined(releases, activation)
    show = showing.as_json if as_json else showing.as_lines
    return 0 if show(found, stream) else 1


def examined(releases: Releases, activation: Activation) -> Iterator[Finding]:
    """Yield what is found of each site of the current release."""
    number = releases.current_number()
    if number is None:
        yield bad("release", f"{releases.current} leads to no release", "bin/buildout")
        return
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
