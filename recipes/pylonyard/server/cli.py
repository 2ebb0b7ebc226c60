"""Run ``bin/<site> <action>``, for people, init and cron."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from pylonyard.server import control, environment, status
from pylonyard.server.environment import become, check_installed, expect_no_root, gives_up_root
from pylonyard.server.settings import Settings, load, relocate
from pylonyard.system import errors, progress, relocation
from pylonyard.system.errors import (
    FAILED,
    NOT_CONFIGURED,
    NOT_PERMITTED,
    ServerError,
    interrupted,
    raising_interrupts,
    reason,
)
from pylonyard.system.processes import foreground_marker, server_marker
from pylonyard.system.relocation import MovedSandbox
from pylonyard.system.safe_files import (
    finish,
    make_directory,
    settle_standard_files,
    tell_done,
)

UNIMPLEMENTED = 3

Action = Callable[[Settings], tuple[int, str]]
"""Returns an exit status, and the line to print, if any."""


def with_progress(action: Callable[[Settings, Callable[[], None]], str]) -> Action:
    """Return ``action``, changed to show its progress."""

    def run(settings: Settings) -> tuple[int, str]:
        what = f"{settings.name}: waiting for {settings.address}"
        # It forks, so no thread may show it.
        with progress.of(what, alone=False, first_line=progress.captured_patience()) as step:
            return 0, action(settings, step.tick)

    return run


def stop(settings: Settings) -> tuple[int, str]:
    what = f"{settings.name}: waiting for its requests"
    with progress.of(what, first_line=progress.captured_patience()):
        return 0, control.stop(settings)


# Programs that take the place of this process, for a person at a terminal.


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
    if seen := status.find_processes(settings).all:
        raise ServerError(f"already running, process {seen[0]}")
    if other := status.port_holder(settings):
        raise ServerError(f"port {settings.port} is taken by {other}")
    markers = [server_marker(settings.identity), foreground_marker(settings.identity)]
    variables = environment.of_terminal(settings, os.environ)
    marks = {marker.variable: marker.identity for marker in markers}
    options = ["--reload"] if settings.reload else []
    words = [str(settings.paster), *environment.serve_words(settings, *options)]
    replace_process(settings, words, {**variables, **marks})


def show_log(settings: Settings) -> NoReturn:
    """Show the last lines of both logs, and follow them."""
    logs = [str(settings.log), str(settings.application_log)]
    variables = environment.of_terminal(settings, os.environ)
    replace_process(settings, ["/usr/bin/env", "tail", "-n", "100", "-F", *logs], variables)


def run_configured(settings: Settings, words: Sequence[str], what: str) -> NoReturn:
    """Run the program that the configuration names for ``what``."""
    if not words:
        raise ServerError(f"no {what} is configured", NOT_CONFIGURED)
    replace_process(settings, words, environment.of_terminal(settings, os.environ))


def set_up(settings: Settings) -> NoReturn:
    """Run ``paster setup-app``, which calls the application's installer."""
    if not settings.setup:
        lacks = "the application has no installer (entry point of the group paste.app_install)"
        raise ServerError(f"{lacks}, so there is nothing to set up", NOT_CONFIGURED)
    # A script that names no Python runs as it is.
    started = [*environment.python(settings), "-c", IN_ONE_LINE, settings.name]
    words = [*started, *settings.setup] if environment.is_wrapped(settings) else settings.setup
    run_configured(settings, words, "setup")


IN_ONE_LINE = """\
try:
    import os, runpy, sys
    name = sys.argv[1]
    del sys.argv[:2]
    sys.path[0] = os.path.dirname(os.path.realpath(sys.argv[0]))
    runpy.run_path(sys.argv[0], run_name="__main__")
except KeyboardInterrupt:
    sys.stderr.write(name + ": interrupted\\n")
    sys.exit(130)
"""
"""Runs a script in the interpreter of the application, which may be Python 2.7."""


def replace_process(
    settings: Settings, words: Sequence[str], variables: Mapping[str, str]
) -> NoReturn:
    make_directory(settings.data)
    os.chdir(settings.data)
    environment.confine(settings)
    os.execve(words[0], list(words), dict(variables))


ACTIONS: dict[str, Action] = {
    "start": with_progress(control.start),
    "stop": stop,
    "restart": with_progress(control.restart),
    "force-reload": with_progress(control.restart),
    "try-restart": with_progress(control.try_restart),
    "status": status.status,
    "ensure": lambda settings: (0, control.ensure(settings)),
    "fg": foreground,
    "log": show_log,
    "shell": lambda settings: run_configured(settings, settings.shell, "shell"),
    "setup": set_up,
}


STARTS = ("start", "restart", "force-reload", "try-restart", "ensure", "fg")
"""Actions that may start the server."""
AT_A_TERMINAL = tuple(ACTIONS[name] for name in ("fg", "log", "shell", "setup"))
ALLOWED_AFTER_MOVE = (stop, status.status, status.as_json, show_log)
"""Actions that still work after the sandbox was moved."""

RESTARTS = (ACTIONS["restart"], ACTIONS["force-reload"])


def main(
    source: str | Path, arguments: Sequence[str] | None = None, sandbox: str | Path = ""
) -> int:
    """Carry out the command line; return its exit status.

    :param source: the site's server.json
    :param sandbox: the checkout or project that made it; by default, a release of it did
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    settle_standard_files()
    source = Path(source)
    name = source.parent.name
    if words == ["reload"]:
        return fail(name, "cannot reload, use restart", UNIMPLEMENTED)
    moved = relocation.detect_move(Path(sandbox or source.parents[2]), name, sys.argv[0])
    if len(words) == 1 and words[0] in ACTIONS:
        return finish(name, act(source, ACTIONS[words[0]], moved))
    # Imported here, since init and cron give one word and do not need it.
    from pylonyard.system import command_line

    try:
        given = command_line.site(name).parse_args(["--help"] if words == ["help"] else words)
    except SystemExit as ended:
        return finish(name, int(ended.code or 0))
    as_json = given.action == "status" and given.json
    action = status.as_json if as_json else ACTIONS[given.action]
    return finish(name, act(source, action, moved))


def act(source: Path, action: Action, moved: MovedSandbox | None = None) -> int:
    name = source.parent.name
    try:
        settings = load_settings(source, action, moved)
        name = settings.name
        if settings.mode != PROXY and action in RESTARTS:
            tell_done(name, f"{name}: {restart_in_webserver(settings)}")
            return 0
        if action in AT_A_TERMINAL:
            isolate_root_terminal(settings)
        # Before any file of the sandbox is opened: its user may have planted it.
        become(settings.user)
        if action in map(ACTIONS.get, STARTS):
            warning = expect_no_root(name, settings.deployment)
            if warning and action is not ACTIONS["ensure"]:  # it would be mailed each time
                print(f"{name}: {warning}", file=sys.stderr, flush=True)
        with raising_interrupts():
            code, line = action(settings)
        if line:
            tell_done(name, line if action is status.as_json else f"{name}: {line}")
        return code
    except ServerError as error:
        if action is status.as_json:
            print(status.unknown(name, str(error)))
            return status.UNKNOWN
        is_unknown = action is status.status and error.code > status.UNKNOWN
        return fail(name, str(error), status.UNKNOWN if is_unknown else error.code)
    except PermissionError as error:
        return fail(name, reason(error), NOT_PERMITTED)
    except OSError as error:
        return fail(name, reason(error), FAILED)
    except KeyboardInterrupt:
        return interrupted(name)
    except Exception as error:
        if line := errors.limit_reached(error):
            return fail(name, line, FAILED)
        raise


def load_settings(source: Path, action: Action, moved: MovedSandbox | None) -> Settings:
    """Return the settings, with today's paths if the sandbox was moved.

    :raises ServerError: if the action does not work in a moved sandbox, or this is a copy:
        its processes would be taken for those of the original
    """
    if moved is None:
        return load(source)
    if moved.is_copy or action not in ALLOWED_AFTER_MOVE:
        raise ServerError(moved.message, NOT_CONFIGURED)
    return relocate(load(moved.path(source)), moved.path)


def fail(name: str, message: str, code: int) -> int:
    print(f"{name}: {message}", file=sys.stderr)
    return code


# Sites that a web server itself runs.


PROXY, DAEMON = "proxy", "mod_wsgi"


def restart_in_webserver(settings: Settings) -> str:
    """Touch the site's WSGI script, so that mod_wsgi loads the application again.

    The owner of the release may do this, for a site of any account. Nothing is written,
    and a link at that path is not followed.

    :raises ServerError: if the whole web server has to be reloaded, or the caller may not
    """
    if settings.mode != DAEMON:
        message = "runs in Apache's own processes: apache2ctl graceful loads it again"
        raise ServerError(message, NOT_CONFIGURED)
    script = settings.source.parent / "dispatch.wsgi"
    try:
        os.utime(script, follow_symlinks=False)
    except PermissionError as error:
        message = f"only the owner of {script} may restart it"
        raise ServerError(message, NOT_PERMITTED) from error
    return "mod_wsgi loads it again at the next request"
