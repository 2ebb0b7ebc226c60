"""Recipe ``init_script``: write ``bin/<site>``, and the init script that calls it.

Publishes ``script`` (the live init script) and ``control`` (``bin/<site>``).
``bin/<site>`` runs ``pylonyard.server``, which reads ``server.json``.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pylonyard.config import converters
from pylonyard.environments import scripts
from pylonyard.recipes.base import (
    HOME_OR_EGGS,
    PROXY,
    Recipe,
    expect_stopped,
    option,
    render,
    site_folders,
)
from pylonyard.system import accounts
from pylonyard.system.atomic import Artifact, Link
from pylonyard.system.errors import OptionError
from pylonyard.watchers.logrotate import logrotate_path


def uninstall(section: str, options: Any) -> None:
    """Refuse to uninstall a part outside any release while its server runs."""
    expect_stopped(section, options, options["name"])


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a section."""

    name: str = option(converters.site_name, kind="site name")
    """The site that this part belongs to."""
    user: str = option(converters.account, default="", kind="account")
    """The account that runs the server."""
    host: str = option(converters.host, default="127.0.0.1", kind="host", modes=PROXY)
    """The address where the server listens,"""
    port: int = option(converters.port, kind="TCP port")
    """and the port."""
    mode: str = option(
        converters.one_of("proxy", "mod_wsgi", "embedded"),
        default="proxy",
        kind="``proxy``, ``mod_wsgi``, ``embedded``",
    )
    """As in ``[site]``. Where Apache runs the site, ``restart`` has mod_wsgi load it again."""
    environment: str = option(
        converters.one_of("development", "staging", "production"),
        default="production",
        kind="``development``, ``staging``, ``production``",
    )
    """``bin/<site> fg`` reloads changed code in development."""
    home: Path | None = option(converters.optional(converters.path), default="", kind="path")
    """The environment: ``${app:home}``, or any other."""
    eggs: tuple[str, ...] = option(
        converters.lines(converters.requirement), default="", kind="requirements, one a line"
    )
    """What to make an environment of, without ``home``."""
    paster: Path | None = option(converters.optional(converters.path), default="", kind="path")
    """The ``paster`` script: ``${app:paster}``; default: one made for the environment."""
    ini: Path = option(converters.path, kind="path")
    """The live configuration: ``${ini:path}``."""
    overlap: bool = option(converters.boolean, default="true", kind="``true``, ``false``")
    """As in ``[site]``."""
    check_path: str = option(converters.url_path, default="/", kind="URL path", modes=PROXY)
    """The path that a working server answers."""
    start_timeout: int = option(
        converters.whole(1, 3600, "of seconds"), default="60", kind="seconds", modes=PROXY
    )
    """How long a start may take."""
    stop_timeout: int = option(
        converters.whole(1, 3600, "of seconds"), default="30", kind="seconds", modes=PROXY
    )
    """How long running requests may take to end."""
    umask: int = option(converters.octal_mode, default="022", kind="octal", modes=PROXY)
    """The server's umask."""
    open_files: int = option(
        converters.whole(64, 1048576, "(open files)"), default="4096", kind="number", modes=PROXY
    )
    """Its limit of open files."""
    variables: tuple[tuple[str, str], ...] = option(
        converters.pairs(converters.text), default="", kind="name = value, a line"
    )
    """More environment variables of the server."""
    log_folder: Path = option(converters.path, default="var/log", kind="path")
    """Folder of ``<site>.log`` and ``<site>-server.log``."""
    run_folder: Path = option(converters.path, default="var/run", kind="path")
    """Folder of the locks."""
    data: Path = option(converters.path, default="var/data/${:name}", kind="path")
    """Its working directory; default: ``{default}``."""
    installer: bool = option(converters.boolean, default="true", kind="``true``, ``false``")
    """Whether ``bin/<site> setup`` has anything to run; the profile takes it from
    ``production_ini``."""


class InitScript(Recipe):
    declaration = Options
    settings: Options

    def prepare(self) -> None:
        """Make the environment, if no other part does; find its ``paster``."""
        options = self.settings
        if options.mode != "proxy" and not self.is_released:
            problem = f"mode: expected proxy outside a release, got {options.mode}"
            raise OptionError(self.name, [problem])
        home = self.environment(options.home, options.eggs)
        if home is None:
            raise OptionError(self.name, [HOME_OR_EGGS])
        self.home = home

    def artifacts(self) -> Iterator[Artifact | Link]:
        options = self.settings
        yield from self.environment_link(self.home)
        if options.paster is None:
            yield self._own_paster()
        yield Artifact(f"{options.name}/server.json", self._server_json())
        words = [repr(str(self.live / options.name / "server.json"))]
        if not self.is_released:
            words.append(f"sandbox={str(self.layout.directory)!r}")
        yield Artifact(
            f"bin/{options.name}",
            scripts.tool_script(self.layout.directory, "pylonyard.server.cli", *words),
            0o755,
        )
        control = self.layout.bin / options.name
        yield Artifact(
            f"etc/init.d/{options.name}", render("init.d.j2", options, control=control), 0o755
        )
        logs = [options.log_folder / f"{options.name}{kind}.log" for kind in ("", "-server")]
        group = accounts.group(options.user)
        try:
            rotation = render("logrotate.j2", options, logrotate_path, logs=logs, group=group)
        except ValueError as error:
            raise ValueError(f"log-folder: {error}") from error
        yield Artifact(f"etc/logrotate.d/{options.name}", rotation)

    def folders(self) -> Mapping[Path, int]:
        return site_folders(self.settings)

    def _own_paster(self) -> Artifact:
        """Return a script ``paster`` for the environment, which has none of its own, or may."""
        source = scripts.available(self.home, ["PasteScript"]).get("paster")
        if source is None:
            raise ValueError(
                "home: expected an environment with PasteScript, whose paster serves the site, "
                f"got {str(self.home)!r}"
            )
        text = scripts.text(self.home / "bin" / "python", source)
        return Artifact(f"{self.settings.name}/bin/paster", text, 0o755)

    def _paster(self) -> Path:
        return self.settings.paster or self.live / self.settings.name / "bin" / "paster"

    def _server_json(self) -> str:
        options = self.settings
        log = options.log_folder
        content = {
            "name": options.name,
            "sandbox": str(self.layout.directory),
            "user": options.user,
            "paster": str(self._paster()),
            "python": str(self._python()),
            "ini": str(options.ini),
            "host": options.host.strip("[]"),
            "port": options.port,
            "mode": options.mode,
            "overlap": options.overlap,
            "check-path": options.check_path,
            "start-timeout": options.start_timeout,
            "stop-timeout": options.stop_timeout,
            "umask": f"{options.umask:03o}",
            "open-files": options.open_files,
            "environment": {
                "PYTHON_EGG_CACHE": str(options.data / "egg-cache"),
                **dict(options.variables),
            },
            "deployment": options.environment,
            "reload": options.environment == "development",
            "shell": self._shell(),
            "setup": self._setup(),
            "log": str(log / f"{options.name}-server.log"),
            "application-log": str(log / f"{options.name}.log"),
            "run": str(options.run_folder),
            "data": str(options.data),
        }
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"

    def _setup(self) -> list[str]:
        options = self.settings
        command = [str(self._paster()), "setup-app", str(options.ini)]
        return command if options.installer else []

    def _python(self) -> Path:
        return self.live / self.settings.name / "env" / "bin" / "python"

    def _shell(self) -> list[str]:
        """Return the command of the framework's shell, or of a Python with the app loaded."""
        options = self.settings
        installed = scripts.installed(self.home)
        if "pylons" in installed:
            return [str(self._paster()), "--plugin=pylons", "shell", str(options.ini)]
        python = str(self._python())
        if "pyramid" in installed:
            start = "import sys; from pyramid.scripts.pshell import main; sys.exit(main())"
            return [python, "-c", start, str(options.ini)]
        start = (
            "import sys; from paste.deploy import loadapp; app = loadapp('config:' + sys.argv[1])"
        )
        return [python, "-i", "-c", start, str(options.ini)]

    def published(self) -> Mapping[str, Any]:
        name = self.settings.name
        return {
            "script": self.live / "etc" / "init.d" / name,
            "control": self.layout.bin / name,
        }
