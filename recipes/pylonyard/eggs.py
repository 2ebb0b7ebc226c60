"""zc.buildout's installer: the only module that talks to it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import zc.buildout.easy_install
from zc.buildout import UserError

from pylonyard.errors import OptionError
from pylonyard.layout import Layout


def locations(
    buildout: Any,
    section: str,
    requirements: Sequence[str],
    projects: Sequence[Path],
    links: Sequence[str],
    index: str | None,
) -> list[Path]:
    """Return the folders of the working set that meets ``requirements``, in order.

    :param projects: folders of built source trees, preferred to any egg
    :raises OptionError: if one cannot be had
    """
    base = buildout["buildout"]
    layout = Layout.of(buildout)
    if layout.offline:
        links, index = (), layout.dist.as_uri()
    try:
        working_set = zc.buildout.easy_install.install(
            list(requirements),
            str(layout.eggs),
            links=list(links),
            index=index,
            path=[*map(str, projects), base["develop-eggs-directory"]],
            newest=base.get("newest") == "true" and not layout.offline,
            allow_hosts=tuple(base["allow-hosts"].split()),
        )
    except UserError as error:
        raise OptionError(section, [f"eggs: {' '.join(str(error).split())}"]) from error
    ordered = zc.buildout.easy_install.sort_working_set(
        working_set, str(layout.eggs), base["develop-eggs-directory"]
    )
    return list(dict.fromkeys(Path(dist.location) for dist in ordered))
