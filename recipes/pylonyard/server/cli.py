"""Run ``bin/<site> <action>``, for people, init and cron."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pylonyard.server import control, foreground, status
from pylonyard.server.environment import become, expect_no_root
from pylonyard.server.settings import Settings, load, relocate
from pylonyard.system import errors, progress, relocation
from pylonyard.system.errors import (
    FAILED,
    NOT_CONFIGURED,
    NOT_PERMITTED,
    ServerError,
    interrupted,
    reason,
)
from pylonyard.system.relocation import Astray
from pylonyard.system.safe_files import finish, settle_standard_files, tell_done

UNIMPLEMENTED = 3

Action = Callable[[Settings], tuple[int, str]]
"""Returns an exit status, and the line to print, if any."""


def with_progress(action: Callable[[Settings, Callable[[], None]], str]) -> Action:
    """Return ``action``, changed to show its progress."""

    def run(settings: Settings) -> tuple[int, str]:
        what = f"{settings.name}: waiting for {settings.address}"
        # It forks, and init captures what it prints: a log gets its first line later.
        with progress.of(what, alone=False, first_line=progress.BETWEEN_LINES) as step:
            return 0, action(settings, step.tick)

    return run


def stop(settings: Settings) -> tuple[int, str]:
    what = f"{settings.name}: waiting for its requests"
    with progress.of(what, first_line=progress.BETWEEN_LINES):
        return 0, control.stop(settings)


ACTIONS: dict[str, Action] = {
    "start": with_progress(control.start),
    "stop": stop,
    "restart": with_progress(control.restart),
    "force-reload": with_progress(control.restart),
    "try-restart": with_progress(control.try_restart),
    "status": status.status,
    "ensure": lambda settings: (0, control.ensure(settings)),
    "fg": foreground.foreground,
    "log": foreground.log,
    "shell": lambda settings: foreground.run_configured(settings, settings.shell, "shell"),
    "setup": foreground.setup,
}


STARTS = ("start", "restart", "force-reload", "try-restart", "ensure", "fg")
"""Actions that may start the server."""
AT_A_TERMINAL = tuple(ACTIONS[name] for name in ("fg", "log", "shell", "setup"))
ALLOWED_AFTER_MOVE = (stop, status.status, status.as_json, foreground.log)
"""Actions that still work after the sandbox was moved."""

RESTARTS = (ACTIONS["restart"], ACTIONS["force-reload"])


def main(source: str | Path, arguments: Sequence[str] | None = None) -> int:
    """Carry out the command line; return its exit status.

    :param source: the site's server.json
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    settle_standard_files()
    source = Path(source)
    name = source.parent.name
    if words == ["reload"]:
        return fail(name, "cannot reload, use restart", UNIMPLEMENTED)
    astray = relocation.found(source.parents[2], name, sys.argv[0])
    if len(words) == 1 and words[0] in ACTIONS:
        return finish(name, act(source, ACTIONS[words[0]], astray))
    # Imported here, since init and cron give one word and do not need it.
    from pylonyard.system import command_line

    try:
        given = command_line.site(name).parse_args(["--help"] if words == ["help"] else words)
    except SystemExit as ended:
        return finish(name, int(ended.code or 0))
    as_json = given.action == "status" and given.json
    action = status.as_json if as_json else ACTIONS[given.action]
    return finish(name, act(source, action, astray))


def act(source: Path, action: Action, astray: Astray | None = None) -> int:
    name = source.parent.name
    try:
        settings = load_settings(source, action, astray)
        name = settings.name
        if settings.mode != PROXY and action in RESTARTS:
            tell_done(name, f"{name}: {restart_in_webserver(settings)}")
            return 0
        if action in AT_A_TERMINAL:
            foreground.isolate_root_terminal(settings)
        # Before any file of the sandbox is opened: its user may have planted it.
        become(settings.user)
        if action in map(ACTIONS.get, STARTS):
            warning = expect_no_root(name, settings.deployment)
            if warning and action is not ACTIONS["ensure"]:  # it would be mailed each time
                print(f"{name}: {warning}", file=sys.stderr, flush=True)
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


def load_settings(source: Path, action: Action, astray: Astray | None) -> Settings:
    """Return the settings, with today's paths if the sandbox was moved.

    :raises ServerError: if the action does not work in a moved sandbox, or this is a copy:
        its processes would be taken for those of the original
    """
    if astray is None:
        return load(source)
    if astray.is_copy or action not in ALLOWED_AFTER_MOVE:
        raise ServerError(astray.told, NOT_CONFIGURED)
    return relocate(load(astray.path(source)), astray.path)


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
