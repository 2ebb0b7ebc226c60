"""A mend of zc.buildout 6.0: ``-o`` sees the eggs that buildout installed itself.

The defect: offline, recipes call ``easy_install.working_set``, or ``install`` with
no destination, and give the egg directory as a place to look.  ``Installer._make_env``
scans ``*/*.dist-info`` in the destination alone, so the ``eggs/v5/*.egg`` folders,
which carry a ``.dist-info``, are invisible: "We don't have a distribution for
zc.recipe.egg".  The index is read all the same.

The mend: without a destination the last of the places to look, the egg directory, is
the destination, and the download cache is the only index.  So what is installed is
found, and what is cached is installed.  To be deleted with the release of zc.buildout
that has it.
"""

from importlib.metadata import version
from typing import Any

from zc.buildout import easy_install

MENDED = "6.0."


def apply() -> None:
    """Mend zc.buildout, if it is a release that has the defect."""
    if not version("zc.buildout").startswith(MENDED):
        return
    given = easy_install.install

    def install(specs: Any, dest: Any, **options: Any) -> Any:
        places, cache = options.get("path"), easy_install.Installer._download_cache
        if dest is None and places and cache:
            dest = places[-1]
            options.update(links=(), index=f"file://{cache}", newest=False)
        return given(specs, dest, **options)

    easy_install.install = install
