"""Tell why pip failed, by what it printed; keep all of it if a build has failed."""

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from pylonyard.packages.credentials import KNOWN
from pylonyard.system.atomic import write
from pylonyard.system.subprocesses import first_error

LAST = 3
"""How many lines of a failed build are told."""

_FAILED = (
    re.compile(r"Failed (?:building wheel for |to build ')([^\s']+)"),
    re.compile(r"(?:Collecting|Processing|Building wheel for) ([^\s=<>!~;\[(]+)"),
)
"""Where pip names what it builds: the first that matches, and of that the last."""

_BEFORE = {
    "use_2to3 is invalid": 58,
    "has no attribute 'Feature'": 46,
    "No module named 'pkg_resources'": 82,
}
"""What setuptools did before the version that is told."""


def reason(output: str, logs: Path, built: str = "") -> str:
    """Return why pip failed, in one line of its output.

    :param logs: the folder for all that it printed, if a build has failed
    :param built: what was built, if the message has it before the reason
    """
    output = KNOWN.take(output)
    lines = [re.sub(r"^(ERROR|error): ", "", line.strip()) for line in output.splitlines()]
    if told := _of_build(output.splitlines()):
        return _build(output, told, logs, built)
    for line in lines:
        if "No matching distribution found" in line:
            return re.sub(r" \(from .*", "", line)
    return _conflict(lines) or first_error(output)


def _of_build(lines: Sequence[str]) -> list[str]:
    """Return what a build that failed has printed, without blank lines; empty if none failed."""
    begin = [n for n, line in enumerate(lines) if re.search(r"\[\d+ lines? of output]", line)]
    begin += [n for n, line in enumerate(lines) if "Complete output (" in line]
    if not begin:
        return []
    printed = itertools.takewhile(
        lambda line: "[end of output]" not in line and "-" * 40 not in line, lines[begin[0] + 1 :]
    )
    return [line.strip() for line in printed if line.strip()]


def _build(output: str, told: Sequence[str], logs: Path, built: str) -> str:
    names = next(filter(None, (each.findall(output) for each in _FAILED)), ["a distribution"])
    name = Path(built or names[-1]).name
    log = logs / f"{name}.log"
    write(log, output.encode())
    text = f"{'; '.join(told[-LAST:])} (all that pip printed is in {log})"
    for failure, version in _BEFORE.items():
        if failure in "\n".join(told):
            text += f"; only setuptools before {version} can build that"
    return text if built else f"cannot build {name}: {text}"


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
