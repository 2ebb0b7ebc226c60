"""The command line of the server, with a wrapper that lets it end gently."""

from pathlib import Path

from pylonyard.server.settings import Settings

GENTLE = Path(__file__).with_name("gentle.py")


def interpreter(script: Path) -> list[str]:
    """Return the Python, and its options, that runs ``script``; nothing if unclear."""
    with open(script, "rb") as stream:
        first = stream.readline(4096).decode(errors="replace").strip()
    words = first[2:].split() if first.startswith("#!") else []
    is_python = bool(words) and Path(words[0]).name.startswith("python")
    return words if is_python else []


def python(settings: Settings) -> list[str]:
    return [settings.python] if settings.python else interpreter(settings.paster)


def is_wrapped(settings: Settings) -> bool:
    """Whether the server is a Python that ``gentle`` is put around."""
    return bool(python(settings))


def command(settings: Settings) -> list[str]:
    """Return what to run: paster in the application's interpreter.

    A script that no Python is named in, such as a shell script, runs as it is.
    """
    wrapped = [*python(settings), str(GENTLE)] if is_wrapped(settings) else []
    return [*wrapped, str(settings.paster), "serve", str(settings.ini)]
