"""What ``bin/buildout`` runs on: eggs of the wheels that ``profiles/tools.txt`` names.

Standard library only: this is asked before any code of those eggs runs.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from pylonyard.integrity import Verified
from pylonyard.wheels import WheelError, sha256


def requirements(path: Path) -> Iterator[tuple[str, str, set[str]]]:
    """Yield (name, version, SHA-256 digests) for each pin of a requirements file."""
    logical = path.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in logical.splitlines():
        words = line.partition(" #")[0].split()
        if words and not words[0].startswith("#"):
            name, _, version = words[0].partition("==")
            yield name, version, {w.rpartition(":")[2] for w in words[1:]}


def check(listed: str, cache: str) -> None:
    """End this process with one line if an egg on ``sys.path`` is not what it should be.

    :param listed: the requirements file that names the wheels
    :param cache: the download cache, which has them
    """
    try:
        pins = {(name, version): found for name, version, found in requirements(Path(listed))}
        verified = Verified(Path(cache))
        for egg in [Path(path) for path in sys.path if path.endswith(".egg")]:
            _check(egg, pins, verified)
    except (WheelError, OSError) as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}; run this again")


def _check(egg: Path, pins: Mapping[tuple[str, str], set[str]], verified: Verified) -> None:
    name, version = egg.name.split("-")[:2]
    digests = pins.get((re.sub(r"[-_.]+", "-", name).lower(), version), set())
    if verified.unchanged(egg, digests):
        return
    for wheel in (verified.cache / "dist").glob(f"{name}-{version}-*.whl"):
        if sha256(wheel) in digests:
            verified.install(wheel, egg.parent, digests)
            return
    raise WheelError(
        f"{egg}: expected its wheel in {verified.cache}/dist, with a SHA-256 that is recorded, "
        "got none; run: python3 bootstrap.py"
    )
