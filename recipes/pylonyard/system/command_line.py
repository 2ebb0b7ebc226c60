"""Parse the command lines of our programs."""

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pylonyard
from pylonyard.system.options import near

USAGE = 2
"""The exit status of a wrong command line."""


def closest_match(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean ...?", or nothing."""
    return near(word, known, 0.6)


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Format help with fitting columns; keep the line breaks of descriptions."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30)

    def format_help(self) -> str:
        # argparse does not count the indentation of actions.
        self._action_max_length += self._indent_increment
        return super().format_help()


class Parser(argparse.ArgumentParser):
    """An argument parser that names unknown words, and suggests similar ones."""

    needed = ""
    """The argument that is required, usually ``ACTION``; argparse does not know it."""

    def __init__(self, **words: Any) -> None:
        description = words.pop("description", None)
        super().__init__(
            **{
                "formatter_class": Formatter,
                "allow_abbrev": False,
                "description": description and description.replace("``", ""),
                **words,
            }
        )

    def add_version(self) -> None:
        """Add the option ``--version``."""
        version = f"Pylonyard {pylonyard.__version__}"
        self.add_argument("--version", action="version", version=version, help="show the version")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse unknown arguments here, where the known options are at hand."""
        found, left = super().parse_known_args(args, namespace)
        if left:
            word = left[0]
            kind = "option" if word.startswith("-") else "argument"
            known = set(self._option_string_actions) if kind == "option" else set()
            self.error(f"unknown {kind} {word}{closest_match(word.partition('=')[0], known)}")
        if self.needed and not getattr(found, self.needed.lower()):
            self.error(f"expected {self.needed}")
        return found, left

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            inner = isinstance(action, argparse._SubParsersAction)
            what = "action" if inner else str(action.metavar or action.dest).lower()
            self.error(f"unknown {what} {value}{closest_match(str(value), known)}")

    def error(self, message: str) -> NoReturn:
        """End the process with one line."""
        name = self.prog.partition(" ")[0]
        message = message.replace("the following arguments are required:", "expected")
        message = re.sub(
            r"argument (\S+): invalid int value: ", r"\1: expected a number, got ", message
        )
        message = re.sub(r"argument (--\S+): (?=expected)", r"\1: ", message)
        end = " See" if message.endswith("?") else "; see"
        print(f"{name}: {message}{end} {self.prog} --help", file=sys.stderr)
        sys.exit(USAGE)


def required(parser: Parser, metavar: str = "ACTION") -> Any:
    """Return the subparsers of a command, of which one is required."""
    parser.needed = metavar  # argparse would ask for it first, whatever else is wrong
    return parser.add_subparsers(
        dest=metavar.lower(), metavar=metavar, title="actions", parser_class=Parser
    )


def describe(parser: argparse.ArgumentParser) -> None:
    """Give each action a description: its line in the command's help."""
    for _, text, inner in actions(parser):
        inner.description = inner.description or f"{text[:1].upper()}{text[1:]}."
        describe(inner)


def actions(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """Yield name, help and parser of each action of a command."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, inner in action.choices.items():
                yield name, helps.get(name, ""), inner


def options(parser: argparse.ArgumentParser) -> Iterator[tuple[Sequence[str], str, str]]:
    """Yield the spellings of each option, its help, and its metavar: '' for a switch."""
    for action in parser._actions:
        if action.option_strings and action.help is not argparse.SUPPRESS:
            takes = "" if action.nargs == 0 else str(action.metavar or action.dest)
            yield action.option_strings, action.help or "", takes


# The command lines of the programs that a sandbox has: what each takes; standard library only.
#
# ``bin/pylonyard`` declares its own, in ``commands.main``.


SITE = {
    "start": "start the server; return once it answers",
    "stop": "let running requests end, and stop it",
    "restart": "replace it by a new one without a failed request, or start it",
    "force-reload": "the same as restart",
    "try-restart": "restart it if it runs",
    "status": "say whether it runs, and answers",
    "ensure": "start it again if it should run, but is dead or hangs; for cron",
    "fg": "run it in the foreground",
    "log": "show the logs, and follow them",
    "shell": "open the application's interactive shell",
    "setup": "run the application's setup-app",
}

STATUSES = """\
Exit status of status: 0 running and answering, 1 dead though it was started, 3 stopped,
4 running without answering.  Of the others: 0 done, 1 failed, 2 no such action,
{}4 not permitted, 5 not installed, 6 not configured{}.
"""
SITE_STATUSES = STATUSES.format("3 not supported (reload), ", "")

CRON = {
    "install": "write the block to your crontab, or replace it",
    "remove": "remove the block",
    "show": "show the block",
}

BUILDOUT_OPTIONS = {
    "-c FILE": "the configuration; default: the one that this sandbox remembers",
    "-o, --offline": "offline: use the cache only",
    "-O": "online, even if the configuration says offline",
    "-n, -N": "look for newer distributions, or do not",
    "-t SECONDS": "how long to wait for a server that does not answer",
    "-U": "do not read ~/.buildout/default.cfg",
    "-v, -q": "print more (-v also shows where an error arose), or less",
    "-D": "debug: start Python's debugger where an error arises",
    "SECTION:OPTION=VALUE": "set an option for this run only, such as site:port=8081",
    "-h, --help": "show this",
    "--version": "show the versions of Pylonyard and zc.buildout",
    "--help-all": "show zc.buildout's own help, with all commands and options",
}


def _columns(options: Mapping[str, str]) -> str:
    return "\n".join(
        f"  {spelled:<18}{text}" if len(spelled) < 18 else f"  {spelled}\n{'':20}{text}"
        for spelled, text in options.items()
    )


BUILDOUT = f"""\
usage: buildout [OPTION ...] [SECTION:OPTION=VALUE ...]

Make a release from the configuration, and make it the current one.

options:
{_columns(BUILDOUT_OPTIONS)}

To operate the site and the sandbox: bin/<site> --help, bin/pylonyard --help.
"""

BOOTSTRAP = """\
Make bin/buildout in this checkout, and run it.

Needs Python 3.10 or newer and nothing else.  The tools (zc.buildout and the
distributions that the recipes use) are wheels listed in profiles/tools.txt. Each
is checked against its SHA-256 in that file before any of its code runs, and is
unpacked into the egg directory once.
"""

BOOTSTRAP_USAGE = """\
bootstrap.py [--offline] [-c FILE] [SECTION:OPTION=VALUE ...]
       bootstrap.py test [--offline] [WORD ...]
       bootstrap.py fetch FILE-OR-REQUIREMENT ...
       bootstrap.py docs [--offline]
       bootstrap.py dist [--offline]"""


def simple(program: str, description: str, actions: Mapping[str, str], epilog: str = "") -> Parser:
    """Return the parser of a program that takes one action without arguments."""
    parser = Parser(prog=program, description=description, epilog=epilog)
    parser.add_version()
    inner = required(parser)
    for name, text in actions.items():
        inner.add_parser(name, help=text)
    describe(parser)
    return parser


def site(name: str) -> Parser:
    """Return the parser of ``bin/<site>``."""
    parser = simple(name, f"The server of the site {name}.", SITE, SITE_STATUSES)
    for action in parser._actions:
        if isinstance(action.choices, dict):
            action.choices["status"].add_argument("--json", action="store_true", help="print JSON")
    return parser


def cron(name: str) -> Parser:
    """Return the parser of ``bin/<site>-cron``."""
    return simple(f"{name}-cron", f"The block of {name} in your own crontab.", CRON)


def bootstrap() -> Parser:
    """Return the parser of ``bootstrap.py``; other arguments are those of ``bin/buildout``."""
    parser = Parser(prog="bootstrap.py", usage=BOOTSTRAP_USAGE, description=BOOTSTRAP)
    parser.add_version()
    parser.add_argument("--offline", action="store_true", help="use the cache only")
    parser.add_argument(
        "-c", metavar="FILE", help="the configuration, which bin/buildout then remembers"
    )
    inner = parser.add_subparsers(
        dest="action", title="actions", prog="bootstrap.py", parser_class=Parser
    )
    text = "run the tests; other arguments are passed to pytest"
    tests = inner.add_parser("test", help=text, epilog="Those of pytest: bin/test --help")
    tests.add_argument("words", nargs="*", metavar="WORD", help='such as -m "not system"')
    tests.add_argument("--offline", action="store_true", help="use the cache only")
    for name, text in {
        "docs": "build the documentation as HTML, in docs-html",
        "dist": "make and check the distributions for an index, in dist",
    }.items():
        made = inner.add_parser(name, help=text)
        made.add_argument("--offline", action="store_true", help="use the cache only")
    fetch(inner.add_parser("fetch", help="download files to the cache, for offline runs"))
    describe(parser)
    return parser


def fetch(parser: Parser) -> Parser:
    """Declare the arguments of ``bootstrap.py fetch``."""
    parser.description = (
        "Download files or distributions to the cache, for offline runs, which say what\n"
        "they lack.  A file in a lock, or pinned by the recipes, has to have the SHA-256\n"
        "recorded there; any other file the one in the index."
    )
    parser.add_argument(
        "wanted", nargs="+", metavar="FILE-OR-REQUIREMENT", help="such as six==1.17.0"
    )
    parser.add_argument("--cache", metavar="DIR", help="the cache; default: the checkout's")
    parser.add_argument("--index", metavar="URL", help="the index; default: zc.buildout's")
    parser.add_argument(
        "--find-links", action="append", default=[], metavar="PLACE", help="a folder, or a page"
    )
    parser.add_argument(
        "--lock", action="append", default=[], metavar="FILE", help="a lock file that names them"
    )
    parser.add_argument("--python", metavar="PYTHON", help="the interpreter that will use them")
    return parser


def lock(parser: Parser) -> None:
    """Declare the arguments of ``bin/pylonyard lock``."""
    parser.add_argument("--file", type=Path, metavar="FILE", help="default: profiles/pylock.toml")
    parser.add_argument("--offline", action="store_true", help="use this machine's files only")
    parser.add_argument(
        "--check",
        action="store_true",
        help="only tell whether the lock fits the configuration; exit status 1 if not",
    )
    parser.add_argument(
        "--update",
        action="append",
        default=[],
        metavar="NAME",
        help="first install the newest of this distribution that fits; others stay if they can",
    )
    parser.add_argument(
        "--index", metavar="URL", help="the index with the SHA-256 digests to record"
    )
    parser.add_argument(
        "--with",
        dest="also",
        action="append",
        default=[],
        metavar="NAME==VERSION",
        help="a distribution that only other interpreters, or builds, need",
    )


def audit(parser: Parser) -> None:
    """Declare the arguments of ``bin/pylonyard audit``."""
    parser.epilog = (
        "Exit status: 0 if nothing is affected, 1 if something is or the audit failed, "
        "2 for a wrong command line."
    )
    parser.add_argument(
        "database",
        type=Path,
        metavar="DATABASE",
        help="advisories in the OSV format: a JSON file, a folder, or a zip file of them",
    )
    parser.add_argument(
        "--file", type=Path, metavar="FILE", help="the lock; default: profiles/pylock.toml"
    )
    parser.add_argument("--json", action="store_true", help="for machines")


class ConfigWords(argparse.Action):
    """The words of ``config``: at most one section or option, and assignments."""

    def __call__(
        self, parser: argparse.ArgumentParser, found: Any, values: Any, option: str | None = None
    ) -> None:
        named = [word for word in values if "=" not in word]
        if len(named) > 1:
            parser.error(f"unknown argument {named[1]}")
        for word in values:
            if word.partition("=")[0].count(":") > 1:
                parser.error(f"{word}: expected SECTION:OPTION{'=VALUE' * ('=' in word)}")
        setattr(found, self.dest, values)


_LETTERS = re.compile(r"-[vqhUoOnND]*(c.*|t)?")
_HELP = re.compile(r"--help|-[vqhUoOnND]*h[vqhUoOnND]*")
_LONG = ("--help", "--help-all", "--offline", "--version")
_COMMANDS = ("annotate", "install", "query", "runsetup", "setup")
_OF_STOCK = ("bootstrap", "init")
"""Commands that write zc.buildout's own script in the place of ours, which finds no recipes."""


def asks_for_help(words: Sequence[str]) -> bool:
    """Return whether a command line of ``bin/buildout`` asks for its help."""
    return any(map(_HELP.fullmatch, words))


def buildout_error(
    words: Sequence[str], more: Sequence[str] = (), again: str = "python3 bootstrap.py"
) -> str | None:
    """Return the error in a command line of ``bin/buildout``; None if it is right.

    :param more: other words that may replace a command
    :param again: the command that makes ``bin/buildout``
    """
    left = list(words)
    while left:
        word = left.pop(0)
        if word in _LONG:
            continue
        if word.startswith("-"):
            if word == "-" or not _LETTERS.fullmatch(word):
                return f"unknown option {word}{closest_match(word, _LONG)}"
            if word[-1] in "ct" and len(word.lstrip("-vqhUoOnND")) == 1:
                if not left:
                    what = "a file" if word[-1] == "c" else "seconds"
                    return f"{word}: expected {what}, got nothing"
                if not left.pop(0).isdecimal() and word[-1] == "t":
                    return f"{word}: expected seconds, a whole number"
        elif "=" in word:
            if word.partition("=")[0].count(":") > 1:
                return f"{word}: expected SECTION:OPTION=VALUE"
        elif word in _COMMANDS:
            return None
        elif word in _OF_STOCK:
            return f"{word}: bin/buildout exists; to make it again: {again}"
        else:
            known = [*more, *_COMMANDS]
            return f"unknown command {word}{closest_match(word, known)}"
    return None
