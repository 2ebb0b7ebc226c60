"""The findings of checks, and their output as lines or as JSON."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TextIO

from pylonyard.system import progress

ACTIVATE = "bin/pylonyard activate"
ACTIVATE_FORCED = f"{ACTIVATE} --force-new"


@dataclass(frozen=True)
class Finding:
    """The result of a check; ``ok`` is None if it could not be checked."""

    check: str
    ok: bool | None
    text: str
    advice: str = ""
    site: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def good(check: str, text: str) -> Finding:
    return Finding(check, True, text)


def bad(check: str, text: str, advice: str) -> Finding:
    return Finding(check, False, text, advice)


def unknown(check: str, why: str) -> Finding:
    return Finding(check, None, why)


# Output.


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


# Lines of somebody else's, as a finding may show them.


LONGEST_LINE = 2000
"""Characters of a line that are searched for secrets."""

LONGEST_SHOWN = 200
"""Characters of a line that are shown."""

MASK = "<masked>"

# Any account may write these lines: repetitions are bounded, since they could take minutes.
_NAMED = (
    r"(?:pass(?:word|wd|wort|phrase|code)|pwd|secret|token|credential|(?:api|access|private)[\s_-]?key"
    # Not in the name of a Python file, whose line and error should be shown.
    r"|session_?id)(?:(?!\.py\b)\S){0,40}?|(?<![a-z])(?:pass|pw)(?![a-z])[\"'\\]{0,2}"
)
_HEADER = r"(?:authori[sz]ation|cookie)[\w-]{0,40}[\"'\\]{0,2}"
_IS = r"(?:\s{0,4}[=:]>?|(?<=[\"'])\s{0,4},(?=\s{0,4}[bru]?[\"']))\s{0,4}"
# A quoted value ends with a quote before a separator, or not at all.
_QUOTED = r"[bru]?(?:\"(?:\\.|[^\\])*?\"|'(?:\\.|[^\\])*?')(?=[\s,;:&)}\]]|$)|[bru]?\\?[\"'].*"
_NEXT = r"[,;]\s{1,4}[\w.\"'\\-]{1,60}\s{0,4}[=:]"
_SECRET = re.compile(
    rf"(?i)((?:{_HEADER}){_IS})(?:{_QUOTED}|.+)"
    rf"|((?:{_NAMED}){_IS})(?:{_QUOTED}|.+?(?={_NEXT}|$))"
    r"|(\bbearer\s{1,4})\S+"
    r"|(?<=://)(?:[^/\s]+@|[^\s:/@]*:[^\s]*@)"
)


def mask_secrets(line: str, secrets: Iterable[str]) -> str:
    """Return a line, shortened, with secrets and what looks like one masked."""
    shown = line.strip()
    if len(shown) > LONGEST_LINE:
        # Half of a secret would no longer look like one: cut at a blank.
        shown = shown[:LONGEST_LINE].rpartition(" ")[0] or "(a line without a space)"
    for secret in secrets:
        shown = shown.replace(secret, MASK)
    return _SECRET.sub(lambda m: (m[1] or m[2] or m[3] or "") + MASK, shown)[:LONGEST_SHOWN]
