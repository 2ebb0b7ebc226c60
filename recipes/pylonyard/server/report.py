"""What ``status`` says."""

import json
from collections.abc import Mapping
from datetime import datetime

from pylonyard.server import intent
from pylonyard.server.control import wanted
from pylonyard.server.settings import Settings
from pylonyard.server.sight import address_before, answer, is_answering, look

RUNNING, DEAD, STOPPED, UNKNOWN = 0, 1, 3, 4
"""As LSB numbers them. UNKNOWN is a site that runs, but does not answer."""

STATES = {RUNNING: "running", DEAD: "dead", STOPPED: "stopped", UNKNOWN: "unknown"}

FORMAT = 1
"""The version of the object that tells all this to machines."""


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
    if before := address_before(settings, seen):
        return UNKNOWN, f"{what}, at {before} still, not at {settings.address}"
    return UNKNOWN, f"{what}, {settings.address} does not answer"


def as_json(settings: Settings) -> tuple[int, str]:
    """Return the exit status, and what :func:`status` tells as a JSON object."""
    code, text = status(settings)
    servers = look(settings).servers
    values = {"address": settings.address, "process": servers[0] if servers else None}
    return code, _object(settings.name, code, text, values)


def unknown(name: str, text: str) -> str:
    """Return the object of a site whose state cannot be told."""
    return _object(name, UNKNOWN, text, {"address": None, "process": None})


def _object(name: str, code: int, text: str, values: Mapping[str, object]) -> str:
    told = {"version": FORMAT, "site": name, "state": STATES[code], "status": code}
    return json.dumps({**told, **values, "text": text}, indent=2)


def since(when: float | None) -> str:
    if when is None:
        return ""
    moment = datetime.fromtimestamp(when)
    return f" since {moment.isoformat(' ', timespec='seconds')}"
