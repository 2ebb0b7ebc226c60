"""The doctor's checks of Apache alone: whether it loads mod_wsgi, and a fitting one.

Its Hello World is served as Apache serves an application.
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pylonyard.system.errors import ActivationError, CommandError
from pylonyard.system.subprocesses import PROGRAM_PATH, linked_libraries
from pylonyard.webservers.apache import FOLDER, SERVER
from pylonyard.webservers.apache.config_lint import apache as quoted
from pylonyard.webservers.apache.machine import MachineApache
from pylonyard.webservers.registry import (
    ACTIVATE_FORCED,
    NOT_LAID,
    Checked,
    Finding,
    bad,
    good,
    unknown,
)

HTTPD = """\
ServerRoot {folder}
ServerName localhost
PidFile {folder}/run/pid
Mutex file:{folder}/run default
ErrorLog {folder}/run/error.log
LoadModule mpm_worker_module {modules}/mod_mpm_worker.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule wsgi_module {module}
<IfModule !unixd_module>
    LoadModule unixd_module {modules}/mod_unixd.so
</IfModule>
StartServers 1
Listen 127.0.0.1:{port}
WSGISocketPrefix {folder}/run/wsgi
WSGIDaemonProcess hello processes=1 threads=1 home={folder} python-home={home}
WSGIScriptAlias / {folder}/hello.wsgi process-group=hello application-group=%{{GLOBAL}}
<Directory {folder}>
    Require all granted
</Directory>
"""


def loaded(site: Checked) -> Iterator[Finding]:
    check = "mod_wsgi"
    if site.has_server or not site.is_activated:
        yield unknown(check, NOT_LAID if not site.has_server else "not used in this mode")
        return
    try:
        listed = MachineApache(site.tree).apache("-M")
    except ActivationError:
        listed = ""
    if not listed:
        yield unknown(check, "Apache does not list its modules")
    elif "wsgi_module" not in listed:
        yield bad(
            check,
            "Apache does not load mod_wsgi",
            f"a2enmod wsgi && {SERVER.safe_restart}",
        )
    else:
        yield good(check, "Apache loads mod_wsgi")


def linked(site: Checked) -> Iterator[Finding]:
    """Check that Apache loads a mod_wsgi for the application's Python."""
    check, module = "mod_wsgi-python", _module(site)
    if site.has_server or module is None:
        yield unknown(check, "no mod_wsgi is loaded")
        return
    wanted = _python_of(site.home)
    if not module.is_file():
        yield bad(check, f"{module} is missing", "bin/buildout builds it again; activate it")
        return
    found = _linked_pythons(module)
    versions = list(found)
    if versions and not found[versions[0]]:
        yield bad(check, f"{module} does not find libpython{versions[0]}", "bin/buildout")
    elif versions and versions[0] != wanted:
        yield bad(
            check,
            f"{module} is for Python {versions[0]}, the environment for {wanted}",
            f"if no other site needs that one: {ACTIVATE_FORCED}",
        )
    elif not versions and module != site.module:
        yield bad(
            check,
            f"Apache loads {module}, the release has {site.module}",
            f"if no other site needs that one: {ACTIVATE_FORCED}",
        )
    else:
        yield good(check, f"mod_wsgi and the environment are both for Python {wanted}")


def _module(site: Checked) -> Path | None:
    """Return the module that Apache loads; if the site is not activated, the release's."""
    text = site.tree.read(f"{FOLDER}/mods-available/wsgi.load").content.decode(errors="replace")
    found = re.findall(r'(?m)^\s*LoadModule\s+wsgi_module\s+"?([^"\n]+?)"?\s*$', text)
    return Path(found[0]) if found and site.is_activated else site.module


def _linked_pythons(module: Path) -> dict[str, str]:
    """Return the version of each libpython that a module needs, with its file, if there is one."""
    with suppress(CommandError):
        libraries = linked_libraries(module)
        named = ((re.match(r"libpython(\d+\.\d+)", name), libraries[name]) for name in libraries)
        return {match[1]: file for match, file in named if match}
    return {}


def _python_of(home: Path) -> str:
    names = [path.name for path in (home / "lib").glob("python[0-9]*")]
    return names[0].removeprefix("python") if names else "unknown"


CHECKS = {"mod_wsgi": loaded, "mod_wsgi-python": linked}


def hello(site: Checked, folder: Path, port: int) -> list[str | Path]:
    """Return the words that start an Apache with ``hello.wsgi``, by the site's mod_wsgi."""
    text = HTTPD.format(
        folder=folder,
        port=port,
        modules="/usr/lib/apache2/modules",
        module=quoted(site.module or "mod_wsgi.so"),
        home=quoted(site.home),
    )
    (folder / "httpd.conf").write_text(text, encoding="utf-8")
    program = shutil.which("apache2", path=PROGRAM_PATH) or "apache2"
    return [program, "-D", "FOREGROUND", "-f", folder / "httpd.conf"]
