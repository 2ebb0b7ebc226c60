"""The default site on the databases of others, by their real servers."""

import glob
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import ClassVar

import pytest
from browser import Browser
from checkouts import fetch

pytestmark = pytest.mark.system

PASSWORD = "s3cret pass%@:/'"
CONFIG = """
[buildout]
extends = buildout.cfg

[site]
port = {port}

[app]
lock =
eggs +=
    {driver}

[ini]
secrets += database-password = file:{secret}
database-url = {scheme}://site:<secret:database-password:url>@127.0.0.1:{database_port}/site

[versions]
{pins}
"""


class Server:
    """A database server in a folder of its own, on 127.0.0.1, with an empty database ``site``."""

    account = driver = scheme = ""
    end = signal.SIGTERM
    pins: ClassVar[dict[str, str]] = {}

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.data = folder / "data"
        self.process = None

    def words(self, command):
        """Return the words that run ``command`` as an account that is not root."""
        words = ["setpriv", f"--reuid={self.account}", f"--regid={self.account}", "--clear-groups"]
        return [*(() if os.geteuid() else words), *map(str, command)]

    def run(self, *command, env=None):
        words = self.words(command)
        told = subprocess.run(words, cwd="/", text=True, capture_output=True, env=env)
        assert told.returncode == 0, told.stdout + told.stderr
        return told.stdout.strip()

    def start(self):
        with open(self.folder / "log", "ab") as log:
            words = self.words(self.command())
            self.process = subprocess.Popen(words, stdout=log, stderr=log, cwd="/")
        deadline = time.monotonic() + 120
        while not self.answers():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def stop(self):
        """End it at once, whoever is connected."""
        if self.process:
            self.process.send_signal(self.end)
            self.process.wait()


class PostgreSQL(Server):
    account, driver, scheme = "postgres", "psycopg[binary]", "postgresql+psycopg"
    pins: ClassVar = {"psycopg": "3.3.9", "psycopg-binary": "3.3.9"}
    end = signal.SIGINT

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(folder, port)
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"))
        if not found:
            pytest.skip("lacks postgresql")
        self.programs = Path(found[-1]).parent

    def prepare(self):
        words = [f"--pgdata={self.data}", "--username=site", "--auth=scram-sha-256", "--no-sync"]
        words += ["--encoding=UTF8", "--locale=C.UTF-8", "--pwfile=/dev/fd/3"]
        # The account may not open a pipe of root's again.
        shell = ["sh", "-c", 'exec 3<<EOF\n$PASSWORD\nEOF\nexec "$@"', "sh"]
        self.run(*shell, self.programs / "initdb", *words, env={**os.environ, "PASSWORD": PASSWORD})
        self.start()
        self.ask("CREATE DATABASE site", "postgres")

    def command(self):
        where = ["-h", "127.0.0.1", "-p", self.port, "-k", self.data]
        return [self.programs / "postgres", "-D", self.data, *where]

    def answers(self):
        words = ["-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return not subprocess.run([self.programs / "pg_isready", *words]).returncode

    def ask(self, statement, database="site"):
        where = ["-h", "127.0.0.1", "-p", self.port, "-U", "site"]
        environ = {**os.environ, "PGPASSWORD": PASSWORD}
        return self.run(self.programs / "psql", *where, "-qAtc", statement, database, env=environ)


class MariaDB(Server):
    account, driver, scheme = "mysql", "PyMySQL", "mysql+pymysql"
    pins: ClassVar = {"PyMySQL": "1.1.2"}

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(folder, port)
        self.program = shutil.which("mariadbd", path="/usr/sbin:/usr/bin")
        if not self.program:
            pytest.skip("lacks mariadb-server")

    def prepare(self):
        words = ["--no-defaults", f"--datadir={self.data}", "--skip-test-db"]
        self.run("mariadb-install-db", *words, "--auth-root-authentication-method=normal")
        self.start()
        quoted = PASSWORD.replace("'", "''")
        for statement in (
            "CREATE DATABASE site CHARACTER SET utf8mb4",
            f"CREATE USER site@'127.0.0.1' IDENTIFIED BY '{quoted}'",
            "GRANT ALL ON site.* TO site@'127.0.0.1'",
        ):
            self.ask(statement, "mysql")

    def command(self):
        where = [f"--port={self.port}", "--bind-address=127.0.0.1", f"--socket={self.data}/socket"]
        where += ["--skip-name-resolve", f"--pid-file={self.data}/pid"]
        return [self.program, "--no-defaults", f"--datadir={self.data}", *where]

    def answers(self):
        words = ["mariadb-admin", "--no-defaults", f"--socket={self.data}/socket", "-uroot", "ping"]
        return not subprocess.run(words, capture_output=True).returncode

    def ask(self, statement, database="site"):
        words = ["mariadb", "--no-defaults", f"--socket={self.data}/socket", "-uroot", "-NBe"]
        return self.run(*words, statement, database)


@pytest.fixture(params=[PostgreSQL, MariaDB], ids=lambda kind: kind.__name__)
def database(request, free_port):
    """A server with an empty database; it ends with the test."""
    # Below /tmp, where its account can go, and short enough for the path of a socket.
    folder = Path(tempfile.mkdtemp(prefix="db-"))
    server = request.param(folder, free_port())
    (folder / "data").mkdir(mode=0o700)
    if not os.geteuid():
        folder.chmod(0o755)
        shutil.chown(folder / "data", server.account, server.account)
    server.prepare()
    yield server
    server.stop()
    shutil.rmtree(folder)


def configure(site, database, port):
    secret = site.path.parent / "database-password"
    secret.write_text(f"{PASSWORD}\n")
    secret.chmod(0o600)
    pins = "\n".join(f"{name} = {version}" for name, version in database.pins.items())
    text = CONFIG.format(
        port=port,
        secret=secret,
        driver=database.driver,
        scheme=database.scheme,
        database_port=database.port,
        pins=pins,
    )
    (site.path / "buildout-db.cfg").write_text(text)


def test_the_default_site_on_a_server_s_database(database, checkout, free_port):
    site, port = checkout(), free_port()
    configure(site, database, port)

    site.bootstrap("-c", "buildout-db.cfg")
    site.control("simplesite", "start")

    browser = Browser(f"http://127.0.0.1:{port}")
    password = (site.path / "var/secrets/simplesite/editor-password").read_text().strip()
    assert "Sign out" in browser.submit("/sign-in", name="editor", password=password)[1]
    # Longer than MariaDB's plain text, and with a letter of four bytes.
    body = "Grüße \N{SLIGHTLY SMILING FACE} " * 6000
    status, page = browser.submit("/pages/add?parent=1", title="Long", body=body)
    assert (status, page.count("Grüße \N{SLIGHTLY SMILING FACE}")) == (200, 6000)

    # It is away, and is there again: nobody has to restart the site.
    database.stop()
    assert fetch(f"http://127.0.0.1:{port}/healthz")[0] == 503
    assert fetch(f"http://127.0.0.1:{port}/long")[0] == 500
    told = site.buildout("ini:database-url=" + url(database, "other"), check=False)
    assert told.returncode == 1
    assert "paster setup-app: sqlalchemy.exc.OperationalError: " in told.stdout.splitlines()[-1]
    database.start()
    assert [fetch(f"http://127.0.0.1:{port}/long")[0] for _ in range(8)] == [200] * 8

    # Another machine with the same database.
    other = checkout("other")
    configure(other, database, free_port())
    other.bootstrap("-c", "buildout-db.cfg")
    assert database.ask("SELECT COUNT(*) FROM editor") == "1"
    assert PASSWORD not in told.stdout


def url(database, name):
    where = f"127.0.0.1:{database.port}/{name}"
    return f"{database.scheme}://site:<secret:database-password:url>@{where}"
