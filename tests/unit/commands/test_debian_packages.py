import os
import shutil

import pytest
from pylonyard.commands import debian_packages
from pylonyard.system import progress

pytestmark = pytest.mark.skipif(not shutil.which("apt-get"), reason="no apt-get here")


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        ("dlstatus:3:37.5:Retrieving file 3 of 8 (2s remaining)\n", (37, "Retrieving file 3 of 8")),
        ("pmstatus:apache2:50.0000:Unpacking apache2 (amd64)\n", (50, "Unpacking apache2 (amd64)")),
        ("pmconffile:/etc/x : 'a' 'b' 1 1\n", (0, "")),
        ("nonsense\n", (0, "")),
    ],
)
def test_states_of_apt_are_shown(state, shown):
    with progress.of("Installing", 100, unit="%", alone=False) as step:
        debian_packages.show(step, state)

    assert step.done == shown[0]
    assert step.detail.startswith(shown[1])


def test_installed_package_is_not_missing():
    assert debian_packages.missing("dpkg no-such-package-anywhere\nbase-files") == [
        "no-such-package-anywhere"
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="lacks root, who alone may use apt-get")
def test_apt_says_why_it_failed():
    refused = debian_packages._apt_get("Installing", ["install", "-y", "no-such-package-anywhere"])

    assert refused == "Unable to locate package no-such-package-anywhere"
