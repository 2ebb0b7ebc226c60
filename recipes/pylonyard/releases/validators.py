"""Check artifacts by the programs that will read them, before they go live.

A validator is a pattern of paths, the program it needs, and a function that
raises ``CommandError`` if the program refuses the file.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from pylonyard.system import accounts
from pylonyard.system.errors import ArtifactError, CommandError
from pylonyard.system.subprocesses import PROGRAM_PATH, first_error, run
from pylonyard.watchers.registry import Watcher, watchers
from pylonyard.webservers.registry import WebServer, servers

_LOAD_INI = """
import sys
from paste.deploy.loadwsgi import APP, SERVER, loadcontext
for kind in (APP, SERVER):
    try:
        loadcontext(kind, 'config:' + sys.argv[1])
    except Exception:
        error = sys.exc_info()[1]
        sys.exit(' '.join(str(error).split()) or error.__class__.__name__)
"""

_COMPILE = """
import io, sys
compile(io.open(sys.argv[1], encoding='utf-8').read().encode('utf-8'), sys.argv[1], 'exec')
"""


@dataclass(frozen=True)
class Draft:
    """A release that is not live yet; its files name their future paths."""

    folder: Path
    live: Path

    def python(self, path: str) -> Path:
        """Return the interpreter of the site that ``path`` belongs to."""
        return self.folder / path.partition("/")[0] / "env" / "bin" / "python"


@dataclass(frozen=True)
class Validator:
    """Check files whose path matches ``pattern``, by ``program``."""

    name: str
    pattern: str
    check: Callable[[Draft, str], None]
    program: str = ""
    package: str = ""
    """The Debian package that has the program."""
    needed: bool = True
    """True if a file may not go live without it."""

    def found(self) -> bool:
        return not self.program or shutil.which(self.program, path=PROGRAM_PATH) is not None


def load_ini(draft: Draft, path: str) -> None:
    run([draft.python(path), "-c", _LOAD_INI, draft.folder / path], path, doing=f"Checking {path}")


def compile_script(draft: Draft, path: str) -> None:
    run([draft.python(path), "-c", _COMPILE, draft.folder / path], path, doing=f"Checking {path}")


def command(*words: str) -> Callable[[Draft, str], None]:
    def check(draft: Draft, path: str) -> None:
        run([*words, draft.folder / path], path, reason=first_error, doing=f"Checking {path}")

    return check


def of_input(*words: str) -> Callable[[Draft, str], None]:
    def check(draft: Draft, path: str) -> None:
        text = (draft.folder / path).read_text(encoding="utf-8")
        run([*words], path, stdin=text, reason=first_error, doing=f"Checking {path}")

    return check


def logrotate(draft: Draft, path: str) -> None:
    """Have logrotate check a file; a copy without ``su`` if we cannot switch to that account.

    Nor can it take its group where ours is another, as after ``newgrp``.
    """
    text = (draft.folder / path).read_text(encoding="utf-8")
    found = re.search(r"(?m)^ *su (\S+) .*\n", text)
    can_switch = os.geteuid() == 0 or os.getegid() == (found and accounts.gid(found[1]))
    if found and not (can_switch and accounts.can_be_taken(found[1])):
        text = text.replace(found[0], "")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, Path(path).name)
        copy.write_text(text, encoding="utf-8")
        copy.chmod(0o644)
        words = ("logrotate", "--debug", "--state", "/dev/null")
        try:
            printed = run([*words, copy], path, reason=first_error, doing=f"Checking {path}")
        except CommandError as error:
            reason = error.reason.replace(str(copy), str(draft.folder / path))
            raise CommandError(path, reason) from error
    # Some releases of it, Debian 13's among them, warn of such a line, and leave it out.
    for line in printed.splitlines():
        if "unknown option" in line:
            raise CommandError(path, line.strip())


def load_server_settings(draft: Draft, path: str) -> None:
    from pylonyard.server.settings import load
    from pylonyard.system.errors import ServerError

    try:
        paster = load(draft.folder / path).paster
    except ServerError as error:
        raise CommandError(path, str(error)) from error
    if paster.is_relative_to(draft.live):
        script = paster.relative_to(draft.live)
        if not (draft.folder / script).exists():
            advice = f"name {script.name} in the option scripts of the application's section"
            raise CommandError(path, f"expected a script {script}, got none; {advice}")


def site_file(one: WebServer) -> Validator:
    """Return the validators of the files that web servers read."""

    def check(draft: Draft, path: str) -> None:
        one.check(path, draft.folder, draft.live)

    pattern = f"{one.available[1:]}/*"
    return Validator(one.program, pattern, check, one.program, one.package)


def watched(watcher: Watcher) -> Iterator[Validator]:
    """Yield the validators of the files of watchers."""
    for one in watcher.checks:
        check = of_input(*one.words) if one.reads_input else command(*one.words)
        program, pattern = one.words[0], f"{watcher.folder[1:]}/*"
        yield Validator(program, pattern, check, program, one.package, one.is_needed)


VALIDATORS: Sequence[Validator] = (
    Validator("PasteDeploy", "*/production.ini", load_ini),
    Validator("Python", "*/dispatch.wsgi", compile_script),
    Validator("pylonyard.server", "*/server.json", load_server_settings),
    *(each for watcher in watchers() for each in watched(watcher)),
    *map(site_file, servers()),
    Validator(
        "logrotate",
        "etc/logrotate.d/*",
        logrotate,
        "logrotate",
        "logrotate",
        needed=False,
    ),
)


def judging(path: str) -> Iterator[Validator]:
    """Yield the validators that a path of a release has to pass."""
    return (validator for validator in VALIDATORS if fnmatch(path, validator.pattern))


# Every file of a draft, before the programs that will read it.


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
