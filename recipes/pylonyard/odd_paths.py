"""Paths that a sandbox cannot have, since one of its files could not hold them.

Standard library only: it is asked before anything is made.
"""

from pathlib import Path

REASONS = {
    "%": "PasteDeploy reads it as the start of a name",
    "#": "PasteDeploy takes it for the end of a path",
    "${": "zc.buildout and Apache read it as the start of a name",
    "{": "logrotate cannot hold it",
    "}": "logrotate cannot hold it",
    '"': "logrotate cannot hold it",
    "*": "Apache takes it for a pattern",
    "?": "Apache takes it for a pattern",
    "[": "Apache takes it for a pattern",
    "]": "Apache takes it for a pattern",
    "\\": "Python and the shell read it as the start of a character",
}


def problem(folder: Path) -> str:
    """Return why a sandbox cannot be in ``folder``, in one line; empty if it can."""
    path = str(folder)
    odd = {c: "no configuration can hold it" for c in path if not c.isprintable()}
    for what, why in {**odd, **REASONS}.items():
        if what in path:
            return f"the path {path!r} has {what!r}, and {why}; move the folder to another path"
    return ""
