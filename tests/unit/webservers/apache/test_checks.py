"""The doctor's checks of an Apache that loads mod_wsgi."""

import shutil
import subprocess

import pytest
from pylonyard.webservers.apache import checks

from tests.unit.commands.doctor.test_command_checks import laid, place, subject

__all__ = ["place"]  # a fixture


@pytest.fixture
def module(place):
    """A library that needs libpython, as mod_wsgi does."""
    found = subprocess.run(["sh", "-c", "ls /usr/lib/*/libpython3.*.so.1.0"], capture_output=True)
    library = found.stdout.decode().split()
    if not library or not shutil.which("cc"):
        pytest.skip("lacks a C compiler, or a shared libpython")
    target = place / "mod_wsgi.so"
    words = ["cc", "-shared", "-o", target, "-Wl,--no-as-needed", "-x", "none", library[0]]
    subprocess.run(words, check=True)
    return target, library[0].rpartition("libpython")[2].removesuffix(".so.1.0")


@pytest.mark.system
def test_module_for_another_python_is_red(place, module):
    path, version = module
    journal = laid(place, f'LoadModule wsgi_module "{path}"\n')
    home = place / "releases/1/shop/env/lib"
    (home / "python3.11").rename(home / "python2.7")

    (finding,) = checks.linked(subject(place, journal, mode="mod_wsgi"))

    assert (finding.ok, finding.text) == (
        False,
        f"{path} is for Python {version}, the environment for 2.7",
    )
    (home / "python2.7").rename(home / f"python{version}")
    (finding,) = checks.linked(subject(place, journal, mode="mod_wsgi"))
    assert finding.ok


def test_module_that_is_gone_is_red(place):
    journal = laid(place, f"LoadModule wsgi_module {place}/gone.so\n")

    (finding,) = checks.linked(subject(place, journal, mode="mod_wsgi"))

    assert (finding.ok, finding.text) == (False, f"{place}/gone.so is missing")


@pytest.mark.system
@pytest.mark.skipif(not shutil.which("apache2", path="/usr/sbin"), reason="lacks Apache")
def test_mod_wsgi_that_is_not_loaded_is_red(place):
    journal = laid(place, "")
    (place / "etc/apache2/apache2.conf").write_text(
        "ServerName localhost\nErrorLog error.log\nInclude mods.conf\n"
    )
    modules = "/usr/lib/apache2/modules"
    (place / "etc/apache2/mods.conf").write_text(
        f"LoadModule mpm_event_module {modules}/mod_mpm_event.so\n"
    )

    (finding,) = checks.loaded(subject(place, journal, mode="mod_wsgi"))

    assert (finding.ok, finding.text) == (False, "Apache does not load mod_wsgi")
