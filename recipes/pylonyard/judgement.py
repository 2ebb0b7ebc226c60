"""Every file of a draft, before the programs that will read it."""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from pylonyard.errors import ArtifactError, CommandError
from pylonyard.validators import Draft, Validator, judging


def judge(
    draft: Draft, parts: Mapping[str, str], *, unchecked_allowed: bool
) -> dict[str, list[str]]:
    """Return the names of the validators that each file passed.

    :param parts: the part that made each file, for messages
    :param unchecked_allowed: whether a file may go live though the program that
        judges it is not on this machine
    :raises ArtifactError: if a file was refused, or may not go unchecked
    """
    due = list(_due(parts, unchecked_allowed))
    # Each starts a program and waits for it.
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(lambda pair: _one(draft, pair[0], pair[1], parts), due))
    passed: dict[str, list[str]] = {}
    for validator, path in due:
        passed.setdefault(path, []).append(validator.name)
    return passed


def _due(parts: Mapping[str, str], unchecked_allowed: bool) -> Iterator[tuple[Validator, str]]:
    for path, part in parts.items():
        for validator in judging(path):
            if validator.found():
                yield validator, path
            elif validator.needed and not unchecked_allowed:
                advice = f"install it with: apt-get install {validator.package}"
                reason = f"it is not on this machine; {advice}, or set [release] unchecked = allow"
                raise ArtifactError(part, path, validator.name, reason)


def _one(draft: Draft, validator: Validator, path: str, parts: Mapping[str, str]) -> None:
    try:
        validator.check(draft, path)
    except CommandError as error:
        reason = error.reason.replace(str(draft.folder), str(draft.live))
        raise ArtifactError(parts[path], path, validator.name, reason) from error
