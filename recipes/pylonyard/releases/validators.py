"""Check artifacts by the programs that will read them, before they go live.

A validator is a pattern of paths, the program it needs, and a function that
raises ``CommandError`` if the program refuses the file.
"""

import logging
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from pylonyard.system import progress, safe_files
from pylonyard.system.errors import ArtifactError, CommandError, PylonyardError, ServerError
from pylonyard.system.subprocesses import (
    PROGRAM_PATH,
    as_account,
    clean_environment,
    first_error,
    last_line,
    run,
)
from pylonyard.watchers.registry import Check, Watcher, watchers
from pylonyard.webservers.registry import WebServer, servers

log = logging.getLogger("pylonyard")

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


def webserver_validator(one: WebServer) -> Validator:
    """Return the validators of the files that web servers read."""

    def check(draft: Draft, path: str) -> None:
        one.check(path, draft.folder, draft.live)

    pattern = f"{one.available[1:]}/*"
    return Validator(one.program, pattern, check, one.program, one.package)


def watcher_validators(watcher: Watcher) -> Iterator[Validator]:
    """Yield the validators of the files of watchers."""
    for one in watcher.checks:
        program, pattern = one.words[0], f"{watcher.folder[1:]}/*"
        yield Validator(program, pattern, _checked_by(one), program, one.package, one.is_needed)


def _checked_by(one: Check) -> Callable[[Draft, str], None]:
    if function := one.function:
        return lambda draft, path: function(draft.folder / path, path)
    return of_input(*one.words) if one.reads_input else command(*one.words)


# The application's own tests, as ``tests.json`` of a release describes them.


TESTS_VERSION = 1
"""The version of ``tests.json``."""


@dataclass(frozen=True)
class Tests:
    """How to run the tests of an application."""

    user: str
    """The account of the site: root runs them as that."""
    command: Sequence[str]
    found: Sequence[str]
    """Words for where the tests are; those of a command line may take their place."""
    words: Sequence[str]
    """More words, of the configuration."""
    directory: str
    """Where they run; empty for a folder that is removed afterwards."""


def load_tests(path: Path) -> Tests:
    """Read ``tests.json``.

    :raises PylonyardError: if it cannot be read
    """
    values = safe_files.json_object(safe_files.read_plainly(path), TESTS_VERSION)
    try:
        fields = [values[name] for name in ("user", "command", "found", "words", "directory")]
    except KeyError as error:
        raise ServerError(f"{path}: expected {error}, got none; run bin/buildout") from error
    return Tests(*fields)


def start_tests(
    tests: Tests, words: Sequence[str] = (), **streams: Any
) -> "subprocess.CompletedProcess[str]":
    """Run the tests.

    :param words: arguments of the runner; unless the first is an option, they select tests
    :raises CommandError: if root may not run them, as their account is missing
    :raises OSError: if the runner cannot start
    """
    found = [] if words and not words[0].startswith("-") else tests.found
    apart = as_account(tests.user or None)
    kept = {name: held for name, held in os.environ.items() if not name.startswith("PYTHON")}
    if apart:
        kept = clean_environment({"USER": tests.user, "HOME": pwd.getpwnam(tests.user).pw_dir})
    with tempfile.TemporaryDirectory() as folder:
        if apart:
            os.chown(folder, apart["user"], apart["group"])
        return subprocess.run(
            [*tests.command, *found, *tests.words, *words],
            cwd=tests.directory or folder,
            # An environment never changes, not even by bytecode.
            env={**kept, "PYTHONDONTWRITEBYTECODE": "1"},
            text=True,
            errors="replace",
            check=False,
            **apart,
            **streams,
        )


def tests_main(source: str) -> int:
    """Run the tests with the words of the command line; return the runner's exit status."""
    try:
        status = start_tests(load_tests(Path(source)), sys.argv[1:]).returncode
    except (PylonyardError, OSError) as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        return getattr(error, "code", 1)
    except KeyboardInterrupt:
        return 130
    return status if status >= 0 else 128 - status


def run_tests(draft: Draft, path: str) -> None:
    """Run the tests that a site requires; the error has the output of the runner."""
    site = path.partition("/")[0]
    with progress.of(f"Running the tests of {site}"):
        try:
            found = load_tests(draft.folder / site / "tests.json")
            ended = start_tests(
                found, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
        except CommandError as error:
            why = f"{error}; make it first: root runs the tests as the account of the site"
            raise CommandError(path, why) from error
        except (PylonyardError, OSError) as error:
            raise CommandError(path, str(error)) from error
    if ended.returncode == 0 and not _NONE_RAN.search(ended.stdout):
        return
    log.error("The tests of %s:\n%s", site, ended.stdout.rstrip())
    why = f"exit status {ended.returncode}" if ended.returncode else "no test was found"
    raise CommandError(path, f"{why}; what is live stays: {last_line(ended.stdout)}")


_NONE_RAN = re.compile(r"^\s*Ran 0 tests", re.M)
"""What unittest and zope.testrunner print, with success, if they find nothing."""


VALIDATORS: Sequence[Validator] = (
    Validator("PasteDeploy", "*/production.ini", load_ini),
    Validator("Python", "*/dispatch.wsgi", compile_script),
    Validator("pylonyard.server", "*/server.json", load_server_settings),
    Validator("its tests", "*/tests-required", run_tests),
    *(each for watcher in watchers() for each in watcher_validators(watcher)),
    *map(webserver_validator, servers()),
)


def validators_of(path: str) -> Iterator[Validator]:
    """Yield the validators that a path of a release has to pass."""
    return (validator for validator in VALIDATORS if fnmatch(path, validator.pattern))


# Every file of a draft, before the programs that will read it.


def validate(
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
        list(pool.map(lambda pair: _run_validator(draft, pair[0], pair[1], parts), due))
    passed: dict[str, list[str]] = {}
    for validator, path in due:
        passed.setdefault(path, []).append(validator.name)
    return passed


def _due(parts: Mapping[str, str], unchecked_allowed: bool) -> Iterator[tuple[Validator, str]]:
    for path, part in parts.items():
        for validator in validators_of(path):
            if validator.found():
                yield validator, path
            elif validator.needed and not unchecked_allowed:
                advice = f"install it with: apt-get install {validator.package}"
                reason = f"it is not on this machine; {advice}, or set [release] unchecked = allow"
                raise ArtifactError(part, path, validator.name, reason)


def _run_validator(draft: Draft, validator: Validator, path: str, parts: Mapping[str, str]) -> None:
    try:
        validator.check(draft, path)
    except CommandError as error:
        reason = error.reason.replace(str(draft.folder), str(draft.live))
        raise ArtifactError(parts[path], path, validator.name, reason) from error
