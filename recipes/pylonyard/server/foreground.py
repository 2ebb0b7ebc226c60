"""Replace this process by a program at a terminal: server, log, shell or setup."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from pylonyard.server import environment
from pylonyard.server.environment import check_installed, gives_up_root
from pylonyard.server.settings import Settings
from pylonyard.server.status import find_processes, port_holder
from pylonyard.system.errors import NOT_CONFIGURED, ServerError
from pylonyard.system.processes import foreground_marker, server_marker
from pylonyard.system.safe_files import make_directory

RUNUSER = "/usr/sbin/runuser"
"""Of util-linux; with ``--pty`` it makes a terminal and passes on what is typed."""


def isolate_root_terminal(settings: Settings) -> None:
    """Run again as the site's account, at another terminal, if root started us at one.

    A program can type into the terminal that it shares with root's shell (TIOCSTI), and
    the account can trace, and so become, any program that runs as itself.
    """
    if gives_up_root(settings.user) and has_terminal():
        words = [RUNUSER, "--pty", "--user", settings.user, "--", *sys.orig_argv]
        os.execv(RUNUSER, words)


def has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def foreground(settings: Settings) -> NoReturn:
    """Run the server in the foreground; it ends with the terminal, and nothing restarts it."""
    check_installed(settings)
    if seen := find_processes(settings).all:
        raise ServerError(f"already running, process {seen[0]}")
    if other := port_holder(settings):
        raise ServerError(f"port {settings.port} is taken by {other}")
    markers = [server_marker(settings.identity), foreground_marker(settings.identity)]
    variables = environment.of_terminal(settings, os.environ)
    marks = {marker.variable: marker.identity for marker in markers}
    options = ["--reload"] if settings.reload else []
    words = [str(settings.paster), "serve", *options, str(settings.ini)]
    replace_process(settings, words, {**variables, **marks})


def log(settings: Settings) -> NoReturn:
    """Show the last lines of both logs, and follow them."""
    logs = [str(settings.log), str(settings.application_log)]
    variables = environment.of_terminal(settings, os.environ)
    replace_process(settings, ["/usr/bin/env", "tail", "-n", "100", "-F", *logs], variables)


def run_configured(settings: Settings, words: Sequence[str], what: str) -> NoReturn:
    """Run the program that the configuration names for ``what``."""
    if not words:
        raise ServerError(f"no {what} is configured", NOT_CONFIGURED)
    replace_process(settings, words, environment.of_terminal(settings, os.environ))


def setup(settings: Settings) -> NoReturn:
    """Run ``paster setup-app``, which calls the application's installer."""
    if not settings.setup:
        lacks = "the application has no installer (entry point of the group paste.app_install)"
        raise ServerError(f"{lacks}, so there is nothing to set up", NOT_CONFIGURED)
    run_configured(settings, settings.setup, "setup")


def replace_process(
    settings: Settings, words: Sequence[str], variables: Mapping[str, str]
) -> NoReturn:
    make_directory(settings.data)
    os.chdir(settings.data)
    environment.confine(settings)
    os.execve(words[0], list(words), dict(variables))
