"""Tell why pip failed, by what it printed."""

import itertools
import re

from pylonyard.packages.credentials import KNOWN
from pylonyard.system.subprocesses import first_error


def reason(output: str) -> str:
    """Return why pip failed, in one line of its output."""
    output = KNOWN.take(output)
    lines = [re.sub(r"^(ERROR|error): ", "", line.strip()) for line in output.splitlines()]
    for line in lines:
        if "No matching distribution found" in line:
            return re.sub(r" \(from .*", "", line)
    return _conflict(lines) or first_error(output)


def _conflict(lines: list[str]) -> str:
    """Return pip's message on pins that contradict each other, or that no file meets."""
    if "The conflict is caused by:" not in lines:
        return ""
    start = lines.index("The conflict is caused by:") + 1
    causes = list(itertools.takewhile(bool, lines[start:]))
    pins = [re.sub(".* ", "", cause) for cause in causes if "(constraint)" in cause]
    if missing := [pin for pin in pins if pin.partition("==")[0] in lines[start:]]:
        return f"No matching distribution found for {', '.join(missing)}"
    return f"the pins exclude each other: {', '.join(pins)}, but " + ", ".join(
        cause for cause in causes if "requested" not in cause
    )
