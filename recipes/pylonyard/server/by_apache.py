"""Sites that Apache itself runs: what ``restart`` means for them."""

import os

from pylonyard.server.errors import NOT_CONFIGURED, NOT_PERMITTED, ServerError
from pylonyard.server.settings import Settings

PROXY, DAEMON = "proxy", "mod_wsgi"


def restart(settings: Settings) -> str:
    """Have mod_wsgi load the site again, by a new time of its script.

    Whoever owns the release may do this, for a site of any account. Nothing is written,
    and no link followed at the end.

    :raises ServerError: if only Apache as a whole can do that, or somebody else may
    """
    if settings.mode != DAEMON:
        message = "runs in Apache's own processes: apache2ctl graceful loads it again"
        raise ServerError(message, NOT_CONFIGURED)
    script = settings.source.parent / "dispatch.wsgi"
    try:
        os.utime(script, follow_symlinks=False)
    except PermissionError as error:
        message = f"only the owner of {script} may have it loaded again"
        raise ServerError(message, NOT_PERMITTED) from error
    return "mod_wsgi loads it again at the next request"
