"""Source distributions whose ``setup_requires`` names what no index has any more.

Such a requirement is fetched before anything is built, even if the build can do
without; so ``setup.py`` is run with the keyword taken away.
"""

import shutil
import tarfile
import tempfile
import zipfile
from pathlib import Path

from pylonyard.errors import CommandError
from pylonyard.running import run

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


def wheel_without_setup_requires(home: Path, sdist: Path, folder: Path) -> Path:
    """Build ``sdist`` in the sandbox ``home``; return the wheel, made in ``folder``.

    :raises CommandError: if it is no source distribution, or does not build
    """
    with tempfile.TemporaryDirectory() as scratch:
        source = _unpacked(sdist, Path(scratch))
        built = Path(scratch, "built")
        run(
            [home / "bin" / "python", "-c", _SETUP, "-q", "bdist_wheel", "-d", built],
            f"cannot build {sdist.name}",
            directory=source,
        )
        (wheel,) = built.glob("*.whl")
        return Path(shutil.move(wheel, folder / wheel.name))


def _unpacked(sdist: Path, scratch: Path) -> Path:
    try:
        if zipfile.is_zipfile(sdist):
            with zipfile.ZipFile(sdist) as archive:
                archive.extractall(scratch)
        else:
            with tarfile.open(sdist) as archive:
                archive.extractall(scratch, filter="data")
        (setup,) = scratch.glob("*/setup.py")
    except (OSError, tarfile.TarError, ValueError) as error:
        raise CommandError(f"cannot unpack {sdist}", str(error)) from error
    return setup.parent
