"""Files that another account may have made anything of: a pipe, a link, a huge one."""

import os
from pathlib import Path

from pylonyard.server.files import not_plain, open_plainly


def end(path: Path, longest: int) -> tuple[str, os.stat_result]:
    """Return at most ``longest`` bytes at the end of a regular file, and what it is.

    :raises ServerError: if it is another kind of thing, a link say
    :raises OSError: if it cannot be read
    """
    with open(open_plainly(path, os.O_RDONLY, 0), "rb") as stream:
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - longest))
        text = stream.read(longest).decode(errors="replace")
        return text, os.fstat(stream.fileno())


def check_plain(path: Path) -> None:
    """See that ``path``, unless it is missing, can be read without waiting.

    :raises ServerError: if it is no regular file
    """
    if path.exists() and not path.is_file():
        raise not_plain(path)
