"""``manifest.json``: what a release holds, who made it, and which program passed it."""

import hashlib
import json
import os
import stat
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from pylonyard.releases import MANIFEST


def write(
    release: Path,
    parts: Mapping[str, str],
    passed: Mapping[str, Sequence[str]],
    *,
    modes: Mapping[str, int] = MappingProxyType({}),
    configuration: str = "",
    environments: Mapping[str, str] = MappingProxyType({}),
    setup: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write the manifest of a release that is whole but for it.

    :param parts: the part that made each file, by the file's path in the release
    :param passed: the validators that passed it
    :param modes: the mode that a file is to have, if its account cannot be let read it yet
    :param configuration: the file that the run was of, as ``production.cfg``
    :param environments: that of each site, by its name
    :param setup: the database of each site whose application is to be set up
    """
    content = {
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "configuration": configuration,
        "environments": dict(environments),
        "setup": dict(setup),
        "files": {
            path: {
                **_description(release / path, modes.get(path)),
                "part": part,
                "passed": [*passed.get(path, ())],
            }
            for path, part in sorted(parts.items())
        },
    }
    target = release / MANIFEST
    target.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    target.chmod(0o644)


def _description(path: Path, mode: int | None) -> dict[str, str]:
    if path.is_symlink():
        return {"link": os.readlink(path)}
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    there = stat.S_IMODE(path.stat().st_mode) if mode is None else mode
    return {"sha256": digest, "mode": f"{there:04o}"}
