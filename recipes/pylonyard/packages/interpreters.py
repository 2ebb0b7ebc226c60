"""Find interpreters other than buildout's own, and ask for their version and paths."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pylonyard.system.errors import CommandError
from pylonyard.system.subprocesses import PROGRAM_PATH, clean_environment, run

# Valid in every Python since 2.7.
_PROBE = """
import json, os, sys, sysconfig
base = getattr(sys, '_base_executable', None) or sys.executable
if hasattr(sys, 'real_prefix'):
    base = os.path.join(sys.real_prefix, 'bin', 'python%d.%d' % sys.version_info[:2])
get = sysconfig.get_config_var
print(json.dumps({
    'executable': os.path.realpath(base),
    'running': os.path.realpath(getattr(sys, '_base_executable', None) or sys.executable),
    'version': list(sys.version_info[:3]),
    'abi': get('SOABI') or '',
    'unicode': sys.maxunicode,
    'prefix': getattr(sys, 'real_prefix', None) or getattr(sys, 'base_prefix', sys.prefix),
    'shared': bool(get('Py_ENABLE_SHARED')),
    'library': get('INSTSONAME') or get('LDLIBRARY') or '',
    'libraries': get('LIBDIR') or '',
    'headers': get('INCLUDEPY') or '',
}))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python of this machine, outside any virtual environment."""

    executable: Path
    version: tuple[int, int, int]
    abi: str

    @property
    def series(self) -> tuple[int, int]:
        """Return the series that decides which distributions fit, such as (2, 7)."""
        return self.version[:2]

    @property
    def runs_us(self) -> bool:
        """Return whether it is buildout's own."""
        return self.executable == interpreter()

    def __str__(self) -> str:
        return "Python {}.{}.{}".format(*self.version)


def find(command: str, note_variables: Callable[..., object] = lambda *names: None) -> Interpreter:
    """Return the interpreter that ``command`` names: a path, or a program.

    A program is looked for on the PATH, then among the interpreters of pyenv,
    whose own commands refuse to run a version that is not switched on.

    :param note_variables: is called with the variables of the environment that decide
    :raises ValueError: if there is none, or it does not run
    """
    for candidate in _candidates(command, note_variables):
        try:
            return describe(candidate)
        except CommandError:
            continue
    raise ValueError(
        f"expected an interpreter of this machine, got {command!r}; install it, or name its path"
    )


def describe(executable: Path) -> Interpreter:
    """Ask ``executable`` for its version and paths.

    :raises CommandError: if it does not run
    """
    answer = probe(executable, str(executable))
    major, minor, micro = answer["version"]
    return Interpreter(Path(answer["executable"]), (major, minor, micro), answer["abi"])


def probe(executable: Path, what: str) -> dict[str, Any]:
    """Return the output of a query to ``executable``, of any version.

    :param what: the beginning of the message if it does not
    :raises CommandError: if it does not run
    """
    environment = clean_environment({"HOME": os.environ.get("HOME", "/")})
    output = run([executable, "-c", _PROBE], what, environment=environment)
    answer: dict[str, Any] = json.loads(output.splitlines()[-1])
    return answer


def _candidates(command: str, note_variables: Callable[..., object]) -> list[Path]:
    if "/" in command:
        path = Path(command).expanduser()
        return [path] if path.is_file() else []
    note_variables("PATH", "PYENV_ROOT")
    on_path = shutil.which(command, path=os.environ.get("PATH", PROGRAM_PATH))
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    own = sorted(pyenv.glob(f"versions/*/bin/{command}"), reverse=True)
    return [*([Path(on_path)] if on_path else []), *own]


def interpreter() -> Path:
    """Return the real interpreter that runs us, outside any virtual environment."""
    return Path(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))
