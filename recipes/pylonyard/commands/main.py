"""Run ``bin/pylonyard``: the commands for a whole sandbox."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pylonyard.activation.activate import Activation
from pylonyard.commands import completion, init
from pylonyard.commands import rollback as rollback_target
from pylonyard.commands.releases import diff, list_releases
from pylonyard.commands.rollback import rollback
from pylonyard.environments import tools
from pylonyard.releases.store import Releases
from pylonyard.system import command_line, errors, progress, relocation
from pylonyard.system.command_line import Parser, describe, required
from pylonyard.system.errors import (
    ActivationError,
    PylonyardError,
    interrupted,
    raising_interrupts,
    reason,
)
from pylonyard.system.relocation import MovedSandbox
from pylonyard.system.rootfs import Tree
from pylonyard.system.safe_files import finish, settle_standard_files
from pylonyard.system.subprocesses import use_utf8

ALLOWED_AFTER_MOVE = ("completion", "doctor", "releases")
"""Actions that still work in a sandbox that was moved or copied."""


def print_line(line: str) -> None:
    progress.clear()
    print(line, flush=True)


PROGRESS_TEXTS = {
    "rollback": "pylonyard: rolling back",
    "activate": "pylonyard: activating",
    "deactivate": "pylonyard: deactivating",
    "doctor": "pylonyard: examining",
    "cache": "pylonyard: examining the cache",
    "lock": "pylonyard: asking the index",
    "bundle": "pylonyard: packing",
}
"""The progress text of each action that may take long."""

LOCK = Path("profiles", "pylock.toml")
"""The lock of a sandbox, if the command line names no other."""

EXAMPLES = """\
examples:
  bin/pylonyard activate --dry-run    show what activate would change
  bin/pylonyard doctor                find out what is wrong, and what to do
  bin/pylonyard rollback              return to the previous release
"""


@dataclass(frozen=True)
class Sandbox:
    """The sandbox that the command line is about."""

    directory: Path
    bin: Path

    @property
    def releases(self) -> Releases:
        return Releases(self.directory / "releases", self.directory / "current")

    def activation(self, root: str) -> Activation:
        return Activation(self.directory, self.releases, Tree(Path(root).resolve()))


def show_difference(sandbox: Sandbox, older: int, newer: int) -> None:
    """Print what differs between two releases.

    :raises NoReleaseError: if there is no release of that number
    """
    releases = sandbox.releases
    for number in (older, newer):
        releases.existing(number)
    for line in diff(releases, older, newer, sandbox.directory / "var" / "secrets"):
        print(line)


def answer(question: init.Question) -> Callable[[str], str]:
    """Return what checks the answer to a question on a command line."""

    def check(text: str) -> str:
        try:
            question.convert(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error
        return text

    return check


SHELLS = "bash, zsh or fish, such as: source <(bin/pylonyard completion bash)"


def parser() -> Parser:
    described = Parser(prog="pylonyard", description=__doc__, epilog=EXAMPLES)
    described.add_version()
    actions = required(described)
    releases = actions.add_parser("releases", help="list the releases; * marks the current one")
    inner = releases.add_subparsers(
        dest="what", metavar="[diff A B]", title="actions", parser_class=Parser
    )
    diff = inner.add_parser("diff", help="show what differs between two, secrets masked")
    diff.add_argument("older", type=int, metavar="A", help="the number of a release")
    diff.add_argument("newer", type=int, metavar="B", help="the number of another")
    releases.add_argument("--json", action="store_true", help="for machines")
    rollback = actions.add_parser(
        "rollback", help="return to the release that was active before, or to NUMBER"
    )
    number = "of the release; default: the one that was active before"
    rollback.add_argument("number", nargs="?", type=int, metavar="NUMBER", help=number)
    rollback.add_argument(
        rollback_target.CHANGE_OPTION,
        action="store_true",
        help="even if environment, mode or account of a site change",
    )
    activate = actions.add_parser("activate", help="install the current release in /etc (as root)")
    activate.add_argument("--dry-run", action="store_true", help="only show each step")
    activate.add_argument(
        "--force-new", action="store_true", help="replace edited files; keep them"
    )
    deactivate = actions.add_parser(
        "deactivate", help="undo what activate did, except accounts (as root)"
    )
    doctor = actions.add_parser(
        "doctor",
        help="find out what is wrong, and what to do",
        epilog="Exit status: 0 if nothing is red, 1 if something is red or the doctor failed, "
        "2 for a wrong command line, 130 after Ctrl-C.",
    )
    doctor.add_argument("--json", action="store_true", help="for machines")
    doctor.add_argument(
        "-v", "--all", action="store_true", help="show also what is well, and what was not checked"
    )
    cache = actions.add_parser("cache", help="show what the cache holds, and who uses it")
    cache.add_argument("--json", action="store_true", help="for machines")
    cache.add_argument("--clean", action="store_true", help="remove what no kept release needs")
    cache.add_argument("--dry-run", action="store_true", help="only show what --clean would remove")
    lock = actions.add_parser(
        "lock", help="record every file that the current release is installed from"
    )
    command_line.lock(lock)
    command_line.audit(
        actions.add_parser("audit", help="tell which locked distributions have known defects")
    )
    bundle = actions.add_parser("bundle", help="pack what a machine without network needs")
    bundle.add_argument("file", type=Path, metavar="FILE", help="such as shop.tar.gz; a new one")
    config = actions.add_parser(
        "config", help="show the merged configuration, and where each value is from"
    )
    config.add_argument(
        "words",
        nargs="*",
        action=command_line.ConfigWords,
        metavar="SECTION[:OPTION]",
        help="a section, or the value of an option; SECTION:OPTION=VALUE sets one for this once",
    )
    config.add_argument(
        "-c", dest="file", metavar="FILE", help="the configuration; default: that of bin/buildout"
    )
    config.add_argument("--json", action="store_true", help="for machines")
    project = actions.add_parser("init", help="write a small project that deploys at once")
    project.add_argument(
        "folder", nargs="?", default=".", metavar="DIR", help="its folder; default: this one"
    )
    for each in init.QUESTIONS:
        project.add_argument(
            f"--{each.name}",
            type=answer(each),
            metavar=each.metavar,
            help=f"{each.text}; default: {init.DEFAULTS.get(each.name, 'what is found')}",
        )
    project.add_argument("--yes", action="store_true", help="ask nothing; the defaults will do")
    command_line.fetch(actions.add_parser("fetch", help="download files to the cache"))
    shells = actions.add_parser("completion", help="print a completion script for a shell")
    shells.add_argument("shell", choices=completion.SHELLS, metavar="SHELL", help=SHELLS)
    for each in (releases, rollback, activate, deactivate, doctor):
        each.add_argument(
            "--root", default="/", metavar="DIR", help="use a scratch tree instead of /"
        )
    describe(described)
    return described


def examine(
    sandbox: Sandbox, activation: Activation, moved: MovedSandbox | None, words: argparse.Namespace
) -> int:
    # In a moved sandbox, the tools' paths lead to its old place.
    problem = "" if moved else tools.try_to_load("configupdater")
    # Imported here, to keep the other actions fast.
    from pylonyard.commands.doctor import command

    state = command.SandboxState(moved, problem)
    return command.report(
        sandbox.releases, activation, sys.stdout, state, as_json=words.json, whole=words.all
    )


def lock(sandbox: Sandbox, words: argparse.Namespace) -> None:
    # Imported here, to keep the other actions fast.
    tools.load()
    from pylonyard.commands.lock import check, update, write
    from pylonyard.packages.index import Places

    if words.check:
        print_line(check.command(sandbox.directory, words.file))
        return
    if words.update:
        for line in update.command(sandbox.directory, sandbox.bin, words.update, words.offline):
            print_line(line)
    file = sandbox.directory / (words.file or LOCK)
    places = None if words.offline else Places(index=words.index)
    written = write.command(sandbox.directory, file, words.also, places)
    print(f"{file} locks {written.number} distributions; review it, and commit it.")
    if written.missing:
        print(
            f"Other Pythons would also need: {', '.join(written.missing)}; to lock them too, add "
            "--with NAME==VERSION for each."
        )


def audit(sandbox: Sandbox, words: argparse.Namespace) -> int:
    tools.load()
    from pylonyard.commands import audit as auditing  # here, as above

    file = sandbox.directory / (words.file or LOCK)
    return auditing.command(file, words.database, as_json=words.json)


def cache(sandbox: Sandbox, words: argparse.Namespace) -> None:
    # Imported here, to keep the other actions fast.
    tools.load()
    from pylonyard.commands import cache as cache_command

    if words.clean or words.dry_run:
        cache_command.clean(sandbox.directory, print_line, dry_run=words.dry_run)
    elif words.json:
        print_line(json.dumps(cache_command.as_object(sandbox.directory), indent=2))
    else:
        cache_command.show(sandbox.directory, print_line)


def fetch(sandbox: Sandbox, words: argparse.Namespace) -> int:
    # Imported here, to keep the other actions fast.
    tools.load()
    from pylonyard.commands import fetch as fetching
    from pylonyard.environments import cache_usage

    return fetching.command(str(cache_usage.stores_of(sandbox.directory).cache), words)


def bundle(sandbox: Sandbox, file: Path) -> None:
    # Imported here, to keep the other actions fast.
    tools.load()
    from pylonyard.commands import bundle as bundling

    bundling.command(sandbox.directory, file.absolute(), print_line)


def show_configuration(
    sandbox: Sandbox, words: Sequence[str], file: str | None, *, as_json: bool
) -> None:
    # Imported here, to keep the other actions fast.
    tools.load()
    from pylonyard.commands import config

    config.command(sandbox.directory, words, file, print_line, as_json=as_json)


def begin_project(words: argparse.Namespace) -> None:
    tools.load()
    given = {each.name: getattr(words, each.variable) for each in init.QUESTIONS}
    asks = sys.stdin.isatty() and not words.yes
    init.command(Path(words.folder), given, print_line, asks=asks)


def run_action(sandbox: Sandbox, words: argparse.Namespace, moved: MovedSandbox | None) -> int:
    use_utf8()
    activation = sandbox.activation(getattr(words, "root", "/"))
    actions: dict[str, Callable[[], int | None]] = {
        "releases": lambda: (
            show_difference(sandbox, words.older, words.newer)
            if words.what
            else list_releases(activation, as_json=words.json)
        ),
        "rollback": lambda: rollback(
            activation, sandbox.bin, words.number, print_line, may_change=words.change_environment
        ),
        "activate": lambda: (
            activation.dry_run(print_line, force_new=words.force_new)
            if words.dry_run
            else activation.activate(print_line, force_new=words.force_new)
        ),
        "deactivate": lambda: activation.deactivate(print_line),
        "audit": lambda: audit(sandbox, words),
        "bundle": lambda: bundle(sandbox, words.file),
        "cache": lambda: cache(sandbox, words),
        "fetch": lambda: fetch(sandbox, words),
        "lock": lambda: lock(sandbox, words),
        "config": lambda: show_configuration(sandbox, words.words, words.file, as_json=words.json),
        "init": lambda: begin_project(words),
        "completion": lambda: print(
            completion.script(
                words.shell, parser(), completion.site_names(sandbox.directory / "current")
            ),
            end="",
        ),
        "doctor": lambda: examine(sandbox, activation, moved, words),
    }
    if words.action not in PROGRESS_TEXTS:
        return actions[words.action]() or 0
    # No progress with --json: a reader of both streams then gets one object.
    with (
        progress.hidden()
        if getattr(words, "json", False)
        else progress.of(PROGRESS_TEXTS[words.action])
    ):
        return actions[words.action]() or 0


ANYWHERE = ("completion", "config", "init")
"""Actions that need no run before them."""


def console() -> int:
    """Carry out the command line of the ``pylonyard`` that pip installs, in this folder.

    What works on a sandbox is passed to its own ``bin/pylonyard``, which a run has made.
    """
    words = parsed(None)
    if words.action in ANYWHERE:
        return main(os.getcwd(), os.path.join(os.getcwd(), "bin"))
    program = Path("bin", "pylonyard")
    try:
        owner = program.stat().st_uid
    except OSError:
        here = os.getcwd()
        print(
            f"pylonyard: {words.action}: expected a sandbox in {here}, got no {program}; a run of "
            "buildout makes it",
            file=sys.stderr,
        )
        return 1
    if owner not in (0, os.geteuid()):
        print(f"pylonyard: {program} is another account's; to run it: {program}", file=sys.stderr)
        return 1
    os.execv(program, [str(program), *sys.argv[1:]])


def main(directory: str, bin_folder: str, arguments: Sequence[str] | None = None) -> int:
    """Carry out the command line; return the exit status."""
    return finish("pylonyard", run_command(directory, bin_folder, parsed(arguments)))


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the command line, or end this process if it is wrong, or asks for help."""
    settle_standard_files()
    try:
        found = parser().parse_args(arguments)
        if found.action == "releases" and found.what and found.json:
            parser().error("releases diff: unknown option --json")
        return found
    except SystemExit as ended:
        sys.exit(finish("pylonyard", int(ended.code or 0)))


def run_command(directory: str, bin_folder: str, words: argparse.Namespace) -> int:
    """Carry out the action, and report its errors; return the exit status."""
    moved = relocation.detect_move(Path(directory), "pylonyard", sys.argv[0])
    try:
        if moved and words.action not in ALLOWED_AFTER_MOVE:
            raise ActivationError(moved.message)
        folders = [Path(each) for each in (directory, bin_folder)]
        sandbox = Sandbox(*map(moved.path, folders) if moved else folders)
        with raising_interrupts():
            return run_action(sandbox, words, moved)
    except PylonyardError as error:
        print(f"pylonyard: {error}", file=sys.stderr)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        print(f"pylonyard: {reason(error)}", file=sys.stderr)
    except KeyboardInterrupt:
        return interrupted("pylonyard")
    except Exception as error:
        if not (line := errors.limit_reached(error)):
            raise
        print(f"pylonyard: {line}", file=sys.stderr)
    return 1
