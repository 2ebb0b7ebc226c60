"""What ``status`` says."""

from datetime import datetime

from pylonyard.server import intent
from pylonyard.server.control import wanted
from pylonyard.server.settings import Settings
from pylonyard.server.sight import answer, is_answering, look

RUNNING, DEAD, STOPPED, UNKNOWN = 0, 1, 3, 4
"""As LSB numbers them. UNKNOWN is a site that runs, but does not answer."""


def status(settings: Settings) -> tuple[int, str]:
    """Return the exit status and the line for the state of the site."""
    seen = look(settings)
    if not seen.everything:
        if intent.is_wanted(wanted(settings)):
            return DEAD, f"dead, though it was started, see {settings.log}"
        return STOPPED, "stopped"
    if not seen.servers:
        return UNKNOWN, f"ended, is about to be started again, see {settings.log}"
    where = " in the foreground" if seen.foreground else ""
    what = f"running, process {seen.servers[0]}{where}{since(seen.since)}"
    if is_answering(settings):
        return RUNNING, f"{what}, {answer(settings)}"
    return UNKNOWN, f"{what}, {settings.address} does not answer"


def since(when: float | None) -> str:
    if when is None:
        return ""
    moment = datetime.fromtimestamp(when)
    return f" since {moment.isoformat(' ', timespec='seconds')}"
