"""The command lines of all our programs: argparse, with messages of one line."""

import argparse
import difflib
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn

import pylonyard

USAGE = 2
"""The exit status of a command line that cannot be understood."""


def meant(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean ...?", or nothing."""
    found = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f"; did you mean {found[0]}?" if found else ""


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Help whose columns fit, and that keeps the lines of descriptions."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30)

    def format_help(self) -> str:
        # argparse does not count that actions stand further in.
        self._action_max_length += self._indent_increment
        return super().format_help()


class Parser(argparse.ArgumentParser):
    """An argument parser that names what it does not know, and what may be meant."""

    needed = ""
    """What has to be given, an ``ACTION`` mostly, though argparse is not told."""

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
        """Give it ``--version``."""
        told = f"Pylonyard {pylonyard.__version__}"
        self.add_argument("--version", action="version", version=told, help="show the version")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse what is left over here, where it is known which options there are."""
        found, left = super().parse_known_args(args, namespace)
        if left:
            word = left[0]
            kind = "option" if word.startswith("-") else "argument"
            known = set(self._option_string_actions) if kind == "option" else set()
            self.error(f"unknown {kind} {word}{meant(word.partition('=')[0], known)}")
        if self.needed and not getattr(found, self.needed.lower()):
            self.error(f"expected {self.needed}")
        return found, left

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            inner = isinstance(action, argparse._SubParsersAction)
            what = "action" if inner else str(action.metavar or action.dest).lower()
            self.error(f"unknown {what} {value}{meant(str(value), known)}")

    def error(self, message: str) -> NoReturn:
        """End the process with one line."""
        name = self.prog.partition(" ")[0]
        message = message.replace("the following arguments are required:", "expected")
        message = re.sub(
            r"argument (\S+): invalid int value: ", r"\1: expected a number, got ", message
        )
        end = " See" if message.endswith("?") else "; see"
        print(f"{name}: {message}{end} {self.prog} --help", file=sys.stderr)
        sys.exit(USAGE)


def required(parser: Parser, metavar: str = "ACTION") -> Any:
    """Return what takes the actions of a command, one of which has to be given."""
    parser.needed = metavar  # argparse would ask for it first, whatever else is wrong
    return parser.add_subparsers(
        dest=metavar.lower(), metavar=metavar, title="actions", parser_class=Parser
    )


def describe(parser: argparse.ArgumentParser) -> None:
    """Give each action a description: what the command's help says of it."""
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
    """Yield the spellings of each option, its help, and what it takes: '' for nothing."""
    for action in parser._actions:
        if action.option_strings and action.help is not argparse.SUPPRESS:
            takes = "" if action.nargs == 0 else str(action.metavar or action.dest)
            yield action.option_strings, action.help or "", takes
