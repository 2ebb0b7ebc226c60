"""Run ``paster setup-app``, once for each database."""

import os
import pwd
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pylonyard.config.layout import Layout
from pylonyard.releases import contents
from pylonyard.system import safe_files
from pylonyard.system.errors import CommandError, UserError
from pylonyard.system.subprocesses import clean_environment, run


@dataclass(frozen=True)
class Setup:
    """The set-up of the application of ``site`` in ``database``."""

    site: str
    user: str
    database: str
    """A digest that identifies the database."""


def due(release: Path, layout: Layout) -> Iterator[Setup]:
    """Yield the set-ups that a release still needs, because an account was missing.

    :raises ActivationError: if the descriptions of its sites are damaged
    """
    databases = contents.databases(release)
    for site in contents.described_sites(release):
        if site.name in databases:
            setup = Setup(site.name, site.user, databases[site.name])
            if not _done(setup, layout).exists():
                yield setup


def _done(setup: Setup, layout: Layout) -> Path:
    return contents.setup_record(layout.directory, setup.site, setup.database)


def once(setup: Setup, release: Path, layout: Layout) -> None:
    """Set the application up, unless that was done for this database.

    :param release: whose ini and scripts to use; it need not be live
    :raises UserError: if the application's ``setup_app`` fails; it
        is tried again by the next run
    """
    done = _done(setup, layout)
    if done.exists():
        return
    output = run_setup(setup, release, layout)
    told = f"{time.strftime('%Y-%m-%d %H:%M:%S')}\n{output}"
    try:
        safe_files.write(done, told.encode(), 0o600)
    except OSError as error:
        raise UserError(f"[{setup.site}] cannot write {done}: {error.strerror}") from error


def run_setup(setup: Setup, release: Path, layout: Layout) -> str:
    site = release / setup.site
    data = layout.var / "data" / setup.site
    account = pwd.getpwnam(setup.user)
    environment = {
        "HOME": account.pw_dir,
        "USER": setup.user,
        "PYTHON_EGG_CACHE": str(data / "egg-cache"),
    }
    try:
        return run(
            [site / "bin" / "paster", "setup-app", site / "production.ini"],
            f"[{setup.site}] paster setup-app",
            environment=clean_environment(environment),
            directory=data,
            account=setup.user,
            doing=f"Running the setup-app of {setup.site}",
        )
    except CommandError as error:
        reader = "" if os.access(site, os.X_OK) else f"; can {setup.user} read {layout.directory}?"
        raise UserError(f"{error}{reader}") from error
