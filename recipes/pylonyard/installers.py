"""An application's own ``paste.app_install`` installer, run in its own interpreter.

``paster make-config`` of PasteScript 3.7 fails on Python 3 while it writes what
the installer returned, so the installer's ``config_content`` is called here, and
the result written by us.  That serves every installer on every Python.
"""

import json
import tempfile
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pylonyard import scripts
from pylonyard.errors import CommandError
from pylonyard.integrity import RefusedError, Verified
from pylonyard.running import run
from pylonyard.writing import write

_RENDER = r"""
import json, io, sys
import pkg_resources
from paste.script.appinstall import MakeConfigCommand
project, name, target, variables = sys.argv[1:5]
variables = json.loads(variables)
if str is bytes:
    variables = dict((k.encode('utf-8'), v.encode('utf-8')) for k, v in variables.items())
distribution = pkg_resources.get_distribution(project)
point = distribution.get_entry_info('paste.app_install', name)
if point is None:
    sys.exit('%s has no installer (entry point %r of group paste.app_install)' % (project, name))
installer = point.load()(distribution, 'paste.app_factory', name)
command = MakeConfigCommand('make-config')
command.verbose, command.interactive, command.simulate = 0, False, False
content = installer.config_content(command, variables)
if not isinstance(content, bytes):
    content = content.encode('utf-8')
with io.open(target, 'wb') as stream:
    stream.write(content)
"""


def exists(home: Path, requirement: str, name: str) -> bool:
    """Tell whether an application has an installer, which ``setup-app`` cannot do without."""
    installed = scripts.distributions(home).get(canonicalize_name(Requirement(requirement).name))
    return installed is not None and any(
        (point.group, point.name) == ("paste.app_install", name) for point in installed.entry_points
    )


def skeleton(home: Path, requirement: str, name: str, store: Path) -> str:
    """Return the ini that the installer of ``requirement`` makes, secrets left open.

    What the installer would fill with secrets stands as ``<secret:...>``, so the
    text may be kept; it is, for as long as the sandbox is, and verified when used.

    :param home: the application's sandbox
    :param name: the application's name in its distribution, mostly ``main``
    :raises CommandError: if it has no installer, or the installer fails
    """
    project = Requirement(requirement).name
    place = store / f"{home.name}-{project}-{name}.ini"
    verified = Verified(store.parent)
    try:
        if place.is_file() and verified.is_built(place, home.name):
            return place.read_text(encoding="utf-8")
    except RefusedError as error:
        raise CommandError(f"cannot use a config of {project}", str(error)) from error
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "skeleton.ini")
        variables = json.dumps(_variables(project, requirement, name))
        run(
            [home / "bin" / "python", "-c", _RENDER, project, name, target, variables],
            f"cannot make a config of {project}",
            directory=Path(folder),
            advice="mend its installer, or set template",
            doing=f"Asking {project} for its configuration",
        )
        content = target.read_bytes()
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise CommandError(f"cannot make a config of {project}", "it is not UTF-8") from None
    write(place, content)
    verified.note_built(place, home.name)
    return text


def _variables(project: str, requirement: str, name: str) -> dict[str, str]:
    """Return what ``paster make-config`` passes to an installer."""
    return {
        "project_name": project,
        "requirement": requirement,
        "ep_name": name,
        "ep_group": "paste.app_factory",
        "app_name": project.lower(),
        "app_instance_uuid": "<secret:app_instance_uuid>",
        "app_instance_secret": "<secret:app_instance_secret>",
    }
