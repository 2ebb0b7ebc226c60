"""Find missing Debian packages, and install them by apt-get; standard library only."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable

from pylonyard.system import progress
from pylonyard.system.progress import Step


def no_ensurepip_message() -> str:
    """Return the message for an interpreter without ensurepip."""
    version = "{}.{}".format(*sys.version_info)
    lacks = f"{sys.executable} has no ensurepip (a part of Python that installs pip)"
    if sys.base_prefix == "/usr" and shutil.which("apt-get"):
        # python3-venv is for the default python3 only; this name works for each version.
        return f"{lacks}; install it as root with: apt-get install python{version}-venv"
    return f"{lacks}; run bootstrap.py with another interpreter of Python 3.10 or newer"


def missing(text: str) -> list[str]:
    """Return the packages named in ``text`` that are not installed, sorted."""
    names = text.split()
    query = ["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\\n"]
    listed = subprocess.run([*query, *names], capture_output=True, text=True).stdout
    states = (line.split() for line in listed.splitlines())
    return sorted(set(names) - {state[0] for state in states if state[1:] == ["installed"]})


def install(names: Iterable[str]) -> str:
    """Install packages, as root; return why that failed, or ''."""
    # If the update fails, the old lists may suffice; if not, the installation fails with a message.
    _apt_get("Reading the lists of packages", ["update"])
    return _apt_get("Installing packages", ["install", "-y", "--no-install-recommends", *names])


def _apt_get(what: str, words: Iterable[str]) -> str:
    """Run apt-get, and show its progress; return why it failed, or ''."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    states, end = os.pipe()
    command = ["apt-get", "-q", "-o", f"APT::Status-Fd={end}", *words]
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        try:
            apt = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[end],
            )
        finally:
            os.close(end)
        with apt, progress.of(what, 100, unit="%") as step, open(states, errors="replace") as lines:
            for line in lines:
                show(step, line)
        output.seek(0)
        return _reason(output) if apt.returncode else ""


def show(step: Step, state: str) -> None:
    """Show a status line of apt-get: kind, package, percentage and text, with colons.

    The percentage goes to 100 for the download, and again for the installation.
    """
    with contextlib.suppress(ValueError):  # of another kind: a question, say
        _, _, percentage, text = state.split(":", 3)
        step.at(int(float(percentage)), text.strip())


def _reason(lines: Iterable[str]) -> str:
    output = [line.strip() for line in lines if line.strip()]
    errors = [line.removeprefix("E: ") for line in output if line.startswith("E: ")]
    return (errors or output[-1:] or ["it does not say why"])[0]
