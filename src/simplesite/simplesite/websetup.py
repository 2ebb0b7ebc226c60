"""Setting up a site: its configuration file, and then its database."""

import string
import uuid
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

from paste.deploy import appconfig
from sqlalchemy.orm import Session

from simplesite.database import create_tables, make_engine
from simplesite.settings import SettingsError, database_url
from simplesite.startcontent import add_first_editor, add_start_pages

TEMPLATE = "config/deployment.ini_tmpl"


def setup_app(command: Any, conf: Mapping[str, str], vars: Mapping[str, Any]) -> None:
    """Create the tables, the first pages and the first editor; leave what is there already."""
    engine = make_engine(database_url(conf))
    try:
        create_tables(engine)
        with Session(engine) as session:
            add_start_pages(session)
            message = add_first_editor(session, conf)
            session.commit()
    finally:
        engine.dispose()
    if message:
        print(message)


class Installer:
    """The installer, which ``paster make-config`` and ``paster setup-app`` call.

    It has the methods of the installer of PasteScript without being derived from it: the
    application can then be set up where PasteScript itself cannot be imported.
    """

    expect_config_directory = False
    default_config_filename = None

    def __init__(self, dist: Any, ep_group: str, ep_name: str) -> None:
        self.dist = dist
        self.ep_group = ep_group
        self.ep_name = ep_name

    def description(self, config: object) -> str:
        """Return what ``paster make-config --info`` says."""
        return "SimpleSite: a small site of editable pages with comments"

    def editable_config_files(self, filename: str) -> list[str]:
        """Return the files to edit before the site is set up."""
        return [filename]

    def config_content(self, command: Any, vars: Mapping[str, Any]) -> str:
        """Return the text of a configuration file, with the values of ``vars`` put in."""
        own_values = {
            "app_instance_uuid": uuid.uuid4(),
            "app_instance_secret": token_urlsafe(32),
        }
        # PasteDeploy takes a lone percent sign in a value for the start of a variable.
        values = {name: str(vars.get(name, own)) for name, own in own_values.items()}
        escaped = {name: value.replace("%", "%%") for name, value in values.items()}
        template = resources.files("simplesite").joinpath(TEMPLATE).read_text(encoding="utf-8")
        return string.Template(template).substitute({**vars, **escaped})

    def write_config(self, command: Any, filename: str, vars: Mapping[str, Any]) -> None:
        """Write the configuration file, unless there is one."""
        if Path(filename).exists():
            print(f"{filename} is there already; it is left as it is")
            return
        # PasteScript writes bytes, and compares a file that is there in a way only text allows.
        command.ensure_file(filename, self.config_content(command, vars).encode("utf-8"))

    def setup_config(
        self, command: Any, filename: str, section: str, vars: Mapping[str, Any]
    ) -> None:
        """Set the site up as one section of a configuration file says."""
        name = section.rpartition(":")[2]
        conf = appconfig(f"config:{Path(filename).absolute()}#{name}")
        conf.filename = str(Path(filename).absolute())
        try:
            setup_app(command, conf, vars)
        except SettingsError as error:
            raise SystemExit(f"{filename}: {error}") from error
