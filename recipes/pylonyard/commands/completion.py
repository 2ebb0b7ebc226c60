"""Generate completion scripts for bash, zsh and fish from our argparse parsers.

The scripts name no path, so an installed one works in any sandbox with the same sites.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pylonyard.config.converters import sh
from pylonyard.system import command_line
from pylonyard.webservers.registry import servers

SHELLS = ("bash", "zsh", "fish")

FILES = {"FILE", "DIR", "PLACE", "PYTHON"}
"""Metavars of arguments that are completed as files."""


@dataclass(frozen=True)
class Completions:
    """The words that may follow a program, or one of its actions."""

    path: tuple[str, ...]
    """The program and its actions, as typed."""
    words: Mapping[str, str]
    """Each word, with its help."""
    files: tuple[str, ...]
    """The options that take a file."""


def script(shell: str, own: argparse.ArgumentParser, sites: Iterable[str]) -> str:
    """Return the completion script for a shell.

    :param own: the parser of ``bin/pylonyard``
    :param sites: the names of the sites
    """
    parsers: dict[str, argparse.ArgumentParser] = {
        "pylonyard": own,
        "bootstrap.py": command_line.bootstrap(),
    }
    for name in sites:
        parsers[name] = command_line.site(name)
        private = (one for one in servers() if one.private)
        parsers.update({one.private_command(name): one.private_parser(name) for one in private})
        parsers[f"{name}-cron"] = command_line.cron(name)
    tree = [each for name, parser in parsers.items() for each in _completions((name,), parser)]
    tree.append(_buildout())
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](tree, [*parsers, "buildout"])


def site_names(release: Path) -> list[str]:
    """Return the names of a release's sites; none if there is no release."""
    return sorted(path.parent.name for path in release.glob("*/server.json"))


def _completions(path: tuple[str, ...], parser: argparse.ArgumentParser) -> Iterator[Completions]:
    inner = list(command_line.actions(parser))
    words = {name: text for name, text, _ in inner}
    files: list[str] = []
    for spellings, help_text, takes in command_line.options(parser):
        words.update(dict.fromkeys(spellings, help_text))
        files += spellings if takes in FILES else ()
    for action in parser._actions:
        is_word = action.choices and not action.option_strings and not inner
        words.update({str(choice): "" for choice in (action.choices or ()) if is_word})
    yield Completions(path, words, tuple(files))
    for name, _, below in inner:
        yield from _completions((*path, name), below)


def _buildout() -> Completions:
    """Return the options of ``bin/buildout``, which zc.buildout parses without argparse."""
    words = {
        spelling.partition(" ")[0]: text
        for spelled, text in command_line.BUILDOUT_OPTIONS.items()
        for spelling in spelled.split(", ")
        if spelling.startswith("-")
    }
    return Completions(("buildout",), words, ("-c",))


def _table(tree: Iterable[Completions], assign: Callable[[Completions], str]) -> str:
    """Return the shell function that looks up the completions of a program or action.

    :param assign: returns the assignment of the words, in the language of the shell
    """
    known = "\n".join(
        f"        {sh(' '.join(each.path))}) {assign(each)}; files={sh(' '.join(each.files))};;"
        for each in tree
    )
    return f"""\
_pylonyard_known() {{
    case "$1" in
{known}
        *) return 1;;
    esac
}}"""


def _bash(tree: Iterable[Completions], programs: Iterable[str]) -> str:
    table = _table(tree, lambda each: f"words={sh(' '.join(each.words))}")
    return f"""\
# Completion of Pylonyard's programs for bash: source <(bin/pylonyard completion bash)
{table}
_pylonyard() {{
    local words files path="${{COMP_WORDS[0]##*/}}" word here=${{COMP_WORDS[COMP_CWORD]}} number
    for ((number = 1; number < COMP_CWORD; number++)); do
        word=${{COMP_WORDS[number]}}
        _pylonyard_known "$path $word" && path="$path $word"
    done
    _pylonyard_known "$path" || return 0
    COMPREPLY=()
    if [[ " $files " == *" ${{COMP_WORDS[COMP_CWORD - 1]}} "* ]]; then
        mapfile -t COMPREPLY < <(compgen -f -- "$here")
    else
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$here")
    fi
}}
_pylonyard_python() {{
    if [[ ${{COMP_CWORD}} -gt 1 && ${{COMP_WORDS[1]##*/}} == bootstrap.py ]]; then
        COMP_WORDS=("${{COMP_WORDS[@]:1}}")
        COMP_CWORD=$((COMP_CWORD - 1))
        _pylonyard
    elif declare -F _python > /dev/null; then
        _python "$@"
    fi
}}
complete -o bashdefault -o default -F _pylonyard {" ".join(map(sh, programs))}
# What else there is for python3 is read before, and asked for all other files.
declare -F _completion_loader > /dev/null && _completion_loader python3
complete -o bashdefault -o default -F _pylonyard_python python3
"""


def _zsh(tree: Iterable[Completions], programs: Iterable[str]) -> str:
    table = _table(tree, lambda each: f"choices=({_zsh_words(each.words)})")
    return f"""\
#compdef {" ".join(programs)}
# Completion of Pylonyard's programs for zsh: source <(bin/pylonyard completion zsh)
{table}
_pylonyard() {{
    local place="${{words[1]:t}}" word number files
    local -a choices
    for ((number = 2; number < CURRENT; number++)); do
        word=$words[number]
        _pylonyard_known "$place $word" && place="$place $word"
    done
    _pylonyard_known "$place" || return 1
    if [[ " $files " == *" $words[CURRENT-1] "* ]]; then
        _files
    else
        _describe word choices || _files
    fi
}}
_pylonyard_python() {{
    if [[ CURRENT -gt 2 && "${{words[2]:t}}" == bootstrap.py ]]; then
        shift words
        (( CURRENT-- ))
        _pylonyard
    elif whence -w _python > /dev/null; then
        _python
    else
        _default
    fi
}}
compdef _pylonyard {" ".join(map(sh, programs))}
compdef _pylonyard_python python3
"""


def _zsh_words(words: Mapping[str, str]) -> str:
    """Return words for ``_describe`` of zsh: each with its help after a colon."""
    escaped = ((word.replace(":", "\\:"), " ".join(text.split())) for word, text in words.items())
    return " ".join(sh(f"{word}:{script}" if script else word) for word, script in escaped)


def _fish(tree: Iterable[Completions], programs: Iterable[str]) -> str:
    each_known = list(tree)
    known = " ".join(sh(" ".join(each.path)) for each in each_known)
    lines = [
        "# Completion of Pylonyard's programs for fish: bin/pylonyard completion fish | source",
        "function __pylonyard_at",
        f"    set -l known {known}",
        "    set -l typed (commandline -opc)",
        '    if string match -q "*python3" -- $typed[1]; and test (count $typed) -gt 1',
        "        set -e typed[1]",
        "    end",
        '    set -l path (string replace -r ".*/" "" -- $typed[1])',
        "    for word in $typed[2..-1]",
        '        contains -- "$path $word" $known; and set path "$path $word"',
        "    end",
        '    test "$path" = "$argv"',
        "end",
    ]
    for each in each_known:
        at = sh(f"__pylonyard_at {' '.join(each.path)}")
        commands = [each.path[0], *(["python3"] if each.path[0] == "bootstrap.py" else [])]
        for word, help_text in each.words.items():
            shown = f" -d {sh(' '.join(help_text.split()))}" if help_text else ""
            lines += (
                f"complete -c {sh(name)} -n {at} {_fish_word(word, word in each.files)}{shown}"
                for name in commands
            )
    return "\n".join([*lines, ""])


def _fish_word(word: str, takes_file: bool) -> str:
    file = " -r -F" if takes_file else ""
    if word.startswith("--"):
        return f"-l {sh(word[2:])}{file}"
    return f"-s {sh(word[1:])}{file}" if word.startswith("-") else f"-f -a {sh(word)}"
