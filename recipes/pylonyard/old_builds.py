"""Source distributions whose ``setup_requires`` names what no index has any more.

Such a requirement is fetched before anything is built, even if the build can do
without; so ``setup.py`` is run with the keyword taken away.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pylonyard.errors import CommandError
from pylonyard.running import last_line, run
from pylonyard.source_archives import unpack

# Valid in every Python since 2.7; setup.py is read as Python itself would.
_SETUP = """
import os, sys
import setuptools
import distutils.core
def without_requirements(given):
    def setup(**keywords):
        keywords.pop('setup_requires', None)
        return given(**keywords)
    return setup
setuptools.setup = without_requirements(setuptools.setup)
distutils.core.setup = without_requirements(distutils.core.setup)
sys.argv[0] = 'setup.py'
sys.path.insert(0, os.getcwd())
with open('setup.py', 'rb') as stream:
    code = compile(stream.read(), 'setup.py', 'exec')
exec(code, {'__name__': '__main__', '__file__': 'setup.py'})
"""


def project_name(home: Path, tree: Path) -> str:
    """Return what the ``setup.py`` of ``tree`` calls its project, if there is one.

    :raises CommandError: if it does not run
    """
    if not (tree / "setup.py").is_file():
        return ""
    return last_line(_run_setup(home, tree, "-q", "--name"))


def wheel_without_setup_requires(home: Path, tree: Path, folder: Path) -> Path:
    """Build the source tree ``tree`` in the sandbox ``home``; return the wheel, in ``folder``.

    :raises CommandError: if it does not build
    """
    with tempfile.TemporaryDirectory() as scratch:
        _run_setup(home, tree, "-q", "bdist_wheel", "-d", scratch)
        (wheel,) = Path(scratch).glob("*.whl")
        return Path(shutil.move(wheel, folder / wheel.name))


def _run_setup(home: Path, tree: Path, *words: str) -> str:
    python = home / "bin" / "python"
    return run([python, "-c", _SETUP, *words], f"cannot build {tree.name}", directory=tree)


@contextmanager
def unpacked(sdist: Path) -> Iterator[Path]:
    """Give the source tree of a source distribution, until the context ends.

    :raises CommandError: if it is none
    """
    with tempfile.TemporaryDirectory() as scratch:
        tree = unpack(sdist, Path(scratch))
        if not (tree / "setup.py").is_file():
            raise CommandError(f"cannot unpack {sdist}", "it has no setup.py")
        yield tree
