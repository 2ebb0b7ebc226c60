"""Values taken through the recipes mean the same to the real programs, or are refused."""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from checkouts import fetch
from generated import Tally, batches, below, files_of, generate_values, make_recipe
from interpreters_for_all import need_interpreter
from namespaces import run_in_namespace
from pylonyard.recipes.apache_vhost import ApacheVhost
from pylonyard.recipes.cron_restart import CronRestart
from pylonyard.recipes.init_script import InitScript
from pylonyard.recipes.production_ini import ProductionIni
from pylonyard.system.subprocesses import PROGRAM_PATH, first_error, run
from pylonyard.watchers.cron import with_block
from pylonyard.webservers.apache.options import MODULES_BY_MODE

pytestmark = pytest.mark.system

TEMPLATE = """\
[server:main]
use = egg:waitress

[app:main]
paste.app_factory = posixpath:join
anchored = sqlite:///%(here)s/db
secret = <secret:kept>
encoded = postgresql://<secret:kept:url>@db/shop
"""
SECTION = {"name": "shop", "egg": "Shop", "port": "8080"}
SECTION |= {"setup": "false"}

KINDS = ("database-url", "data", "log-file", "secret", "settings")

# Run by the interpreter of a site: reads a list of files, tells what is in each.
READER = """
import io, json, logging, logging.config, os, sys
from paste.deploy import appconfig
def read(path):
    try:
        found = dict(appconfig('config:' + path))
        if path.endswith('alone.ini'):
            return found
        names = {'__file__': path, 'here': os.path.dirname(path)}
        logging.config.fileConfig(path, names)
        (handler,) = [h for h in logging.root.handlers if hasattr(h, 'baseFilename')]
        found['log'] = handler.baseFilename
        handler.close()
    except Exception as error:
        return {'error': '%s: %s' % (type(error).__name__, error)}
    return found
def text(value):
    return value.decode('utf-8', 'replace') if isinstance(value, bytes) else value
with io.open(sys.argv[1], encoding='utf-8') as stream:
    paths = json.load(stream)
paths = [path if str is not bytes else path.encode('utf-8') for path in paths]
result = [dict((k, text(v)) for k, v in read(path).items()) for path in paths]
with io.open(sys.argv[2], 'wb') as stream:
    stream.write(json.dumps(result).encode('utf-8'))
"""


def inis(workspace, home):
    """Make an ini of each value; yield the value, the file, and what is to be read there."""
    from urllib.parse import quote

    for number, value in enumerate(generate_values()):
        folder = workspace / str(number)
        folder.mkdir()
        (folder / "shop.ini").write_text(TEMPLATE)
        (folder / "kept").write_text("secret")
        (folder / "kept").chmod(0o600)
        options = SECTION | {"home": str(home), "log-file": f"{folder}/log", "data": "/data"}
        options["template"] = f"{folder}/shop.ini"
        options |= {"secrets": f"kept = file:{folder}/kept", "secrets-folder": f"{folder}/secrets"}
        kind = KINDS[number % len(KINDS)]
        if kind == "secret":
            (folder / "kept").write_text(value)
            expected = {"secret": value, "encoded": f"postgresql://{quote(value, '')}@db/shop"}
        elif kind == "data":
            options["data"] = below(Path("/d"), value)
            expected = {"anchored": f"sqlite:///{Path(options['data'])}/db"}
        elif kind == "log-file":
            options["log-file"] = below(folder / "logs", value)
            expected = {"log": options["log-file"]}
        elif kind == "settings":
            setting = "key = " + value.replace("\n", "\n  ")
            alone = "[app:main]\npaste.app_factory = posixpath:join\n"
            (folder / "alone.ini").write_text(f"{alone}{setting}\n", newline="")
            options |= {"settings": f"[app:main]\n{setting}", "data": str(folder)}
            expected = {"key": None}
        else:
            options["database-url"] = value
            expected = {"sqlalchemy.url": value.replace("%(here)s", "/data")}
        recipe = make_recipe(ProductionIni, workspace, options)
        if recipe is not None:
            (folder / "production.ini").write_text(files_of(recipe)["shop/production.ini"])
            if kind == "log-file":
                Path(options["log-file"]).parent.mkdir(parents=True)
        yield value, recipe is not None, folder / "production.ini", expected


def is_meant(found, expected):
    return all(
        found.get(key) == meant
        or (key == "log" and os.path.normpath(meant) == os.path.normpath(found.get(key, "")))
        for key, meant in expected.items()
    )


@pytest.mark.parametrize("profile", ["staging.cfg", "legacy.cfg"])
def test_ini(checkout, tmp_path, profile):
    if profile == "legacy.cfg":
        need_interpreter("python2.7")
    site, workspace = checkout(), tmp_path / "inis"
    workspace.mkdir()
    # Nobody serves it: its account need not be there, and may not be root's own; nor need Apache.
    words = ["site:environment=staging", "site:user=nosuchaccount", "release:unchecked=allow"]
    site.bootstrap("-c", profile, *words)
    home = (site.path / "current" / "simplesite" / "env").resolve()
    tally = Tally(f"ini, {next(home.glob('lib/python*')).name}")
    tried = list(inis(workspace, home))
    (tmp_path / "reader.py").write_text(READER)
    paths = [path for t in tried if t[1] for path in (t[2], t[2].with_name("alone.ini"))]
    (tmp_path / "paths").write_text(json.dumps([str(path) for path in paths]))
    site.run(home / "bin/python", tmp_path / "reader.py", tmp_path / "paths", tmp_path / "read")
    results = dict(zip(paths, json.loads((tmp_path / "read").read_text()), strict=True))
    for value, is_accepted, path, expected in tried:
        found, alone = results.get(path, {}), results.get(path.with_name("alone.ini"), {})
        if "key" in expected:
            # A setting means what it means in an ini of its own.
            expected = {"key": alone.get("key")}
        if not is_accepted or ("error" in found and "key" in expected and not expected["key"]):
            tally.count(value, "refused")
        elif is_meant(found, expected):
            tally.count(value, "same")
        else:
            had = {key: found.get(key) for key in expected}
            tally.count(value, f"expected {expected}, got {found.get('error') or had}")
    tally.check()


INIT = {
    "name": "shop",
    "user": "root",
    "port": "8080",
    "home": "home",
    "paster": "/paster",
    "ini": "/shop.ini",
    "log-folder": "log",
    "run-folder": "run",
    "data": "data",
}
# Of each line of standard input, a shell, a script and its answer to "status".
ASK = 'while IFS= read -r line; do echo "$($1 "$line" status 2>&1)"; done'


@pytest.fixture
def workspace():
    """Return a folder that every account can enter."""
    folder = Path(tempfile.mkdtemp(prefix="values-"))
    folder.chmod(0o755)
    (folder / "home/lib/python3.11/site-packages").mkdir(parents=True)
    yield folder
    shutil.rmtree(folder)


def executable(path, text):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_sh(workspace):
    """The folder of a site's command, as the init script calls it."""
    found = {}
    for number, value in enumerate(generate_values()):
        folder, name = below(workspace / str(number), value), f"s{number}"
        recipe = make_recipe(
            InitScript, workspace, INIT | {"name": name}, **{"bin-directory": folder}
        )
        if recipe is not None:
            executable(f"{folder}/{name}", f'echo "{number} $1"')
            (workspace / f"{number}.sh").write_text(files_of(recipe)[f"etc/init.d/{name}"])
            found[value] = number
    for shell in ("dash", "bash"):
        tally = Tally(f"sh, {shell}")
        scripts = "".join(f"{workspace}/{number}.sh\n" for number in found.values())
        output = subprocess.run(
            [shell, "-c", ASK, "ask", shell], input=scripts, stdout=subprocess.PIPE, text=True
        )
        answers = dict(zip(found, output.stdout.splitlines(), strict=True))
        for value in generate_values():
            meant = f"{found.get(value)} status"
            got = answers.get(value, "refused")
            tally.count(value, "same" if got == meant else got)
        tally.check()


def test_logrotate(workspace):
    """The folder of a site's logs; the real program rotates them."""
    if not shutil.which("logrotate", path=PROGRAM_PATH):
        pytest.skip("lacks logrotate")
    if os.geteuid():
        pytest.skip("lacks root, who alone rotates as another account")
    (workspace / "conf").mkdir()
    tally, logs = Tally("logrotate"), {}
    for number, value in enumerate(generate_values()):
        folder, name = below(workspace / str(number), value), f"s{number}"
        recipe = make_recipe(InitScript, workspace, INIT | {"name": name, "log-folder": folder})
        if recipe is None:
            tally.count(value, "refused")
            continue
        (workspace / "conf" / name).write_text(files_of(recipe)[f"etc/logrotate.d/{name}"])
        Path(folder).mkdir(parents=True)
        logs[value] = {f"{Path(folder)}/{name}{kind}.log" for kind in ("", "-server")}
        for log in logs[value]:
            Path(log).write_text("a line\n")
    output = run(["logrotate", "-f", "-s", workspace / "state", workspace / "conf"], "logrotate")
    for number, value in enumerate(generate_values()):
        if value in logs:
            rotated = {str(path)[:-2] for path in (workspace / str(number)).rglob("*.log.1")}
            got = f"rotated {sorted(rotated)}"
            tally.count(value, "same" if rotated == logs[value] else got)
    assert output == ""
    tally.check()


# The machine's folders are covered in this namespace alone. @reboot is when cron starts.
RUN_CRON = r"""
mkdir none; : > empty
mount --bind none /etc/cron.d
mount --bind empty /etc/crontab
mount -t tmpfs tmpfs /var/spool/cron
mkdir -m 1730 /var/spool/cron/crontabs
for table in tables/*; do
    mount -t tmpfs tmpfs /run
    crontab "$table"
    cron -f >/dev/null 2>&1 &
    cron=$!
    wanted=$(( $(ls out | wc -l) + $(grep -c ensure "$table") )); tries=0
    while [ $(ls out | wc -l) -lt $wanted ] && [ $tries -lt 100 ]; do
        sleep 0.2; tries=$((tries + 1))
    done
    kill $cron
    wait $cron || :
    umount /run
done
"""


def test_cron(workspace):
    """The folder of a site's command, and who is told; a real cron runs the crontab."""
    if not shutil.which("cron", path=PROGRAM_PATH):
        pytest.skip("lacks cron")
    tally, output, blocks = Tally("crontab"), Tally("crontab, mailto"), []
    meant = {}
    for number, value in enumerate(generate_values()):
        folder, name = below(workspace / str(number), value), f"s{number}"
        options = {"name": name, "user": "root", "schedule": "@reboot", "target": "crontab"}
        mail = {"mailto": f"{value}@example.org"}
        recipe = make_recipe(CronRestart, workspace, options | mail, **{"bin-directory": folder})
        if recipe is None:
            mail = {"mailto": ""}
            recipe = make_recipe(CronRestart, workspace, options, **{"bin-directory": folder})
        if recipe is not None:
            executable(f"{folder}/{name}", f'echo "$1 $MAILTO" > {workspace}/out/{number}')
            blocks.append((name, files_of(recipe)[f"{name}/crontab"]))
        meant[value] = (recipe is not None, mail["mailto"])
    for folder in ("tables", "out"):
        (workspace / folder).mkdir()
    for number, batch in enumerate(batches(blocks, 250)):
        text = ""
        for name, block in batch:
            text = with_block(text, name, block)
        (workspace / "tables" / str(number)).write_text(text)
    run_in_namespace(RUN_CRON, workspace, os.environ, timeout=3000)
    for number, (value, (is_accepted, mail)) in enumerate(meant.items()):
        answer = workspace / "out" / str(number)
        action, _, recipient = (answer.read_text() if answer.exists() else "none ").partition(" ")
        came = "refused" if not is_accepted else "same" if action == "ensure" else f"ran {action}"
        tally.count(value, came)
        came = "refused" if not mail else "same" if recipient == f"{mail}\n" else recipient
        output.count(value, came)
    tally.check()
    output.check()


VHOST = {
    "backends": "127.0.0.1:9",
    "user": "root",
    "listen": "127.0.0.1",
    "run-folder": "run",
    "data": "data",
}
HTTPD = """ServerRoot {workspace}
ServerName localhost
PidFile {workspace}/httpd.pid
ErrorLog {workspace}/httpd.log
User www-data
Group www-data
{modules}
LogFormat "%h" combined
TypesConfig /dev/null
Listen 127.0.0.1:{port}
Include {conf}/*.conf
"""
MODULES = ("mpm_event", "authz_core", "alias", "mime", "reqtimeout", "headers", "setenvif")
MODULES += MODULES_BY_MODE["proxy"]


def configured(workspace, port, conf):
    """Write what Apache reads: its modules, and the site files in ``conf``."""
    folder = "/usr/lib/apache2/modules"
    modules = "".join(f"LoadModule {m}_module {folder}/mod_{m}.so\n" for m in MODULES)
    text = HTTPD.format(workspace=workspace, modules=modules, port=port, conf=conf)
    # What a site file guards its own Listen with.
    (workspace / "httpd.conf").write_text(f"Define LISTEN_127.0.0.1_{port}\n{text}")
    # An ordinary user's PATH has no sbin.
    return [str(shutil.which("apache2", path=PROGRAM_PATH)), "-f", str(workspace / "httpd.conf")]


def answers(port, numbers):
    """Yield what Apache serves as the file of each site, once it serves anything."""
    url = f"http://127.0.0.1:{port}/files/x"
    for _ in range(200):
        with contextlib.suppress(OSError):
            fetch(url)
            break
        time.sleep(0.05)
    for number in numbers:
        yield fetch(url, Host=f"s{number}.example")[1]


def test_apache(workspace, free_port):
    """A folder of files that Apache serves, and of its logs."""
    if not shutil.which("apache2", path=PROGRAM_PATH):
        pytest.skip("lacks apache2")
    tally, port, sites = Tally("Apache"), free_port(), []
    for number, value in enumerate(generate_values()):
        folder, name = below(workspace / str(number), value), f"s{number}"
        options = {"name": name, "server-name": f"{name}.example", "listen-port": str(port)}
        options |= {"static": f"/files = {folder}", "log-folder": folder}
        recipe = make_recipe(ApacheVhost, workspace, VHOST | options)
        if recipe is None:
            tally.count(value, "refused")
            continue
        Path(folder).mkdir(parents=True)
        Path(folder, "x").write_text(str(number))
        files = files_of(recipe)
        # As the private Apache has it before it includes the site file.
        (logs,) = [x for x in files[f"{name}/httpd.conf"].split("\n") if f" {name}_LOGS" in x]
        site = files[f"etc/apache2/sites-available/{name}.conf"]
        sites.append((number, value, Path(folder), f"{logs}\n{site}"))
    for batch_number, batch in enumerate(batches(sites, 250)):
        conf = workspace / f"conf-{batch_number}"
        conf.mkdir()
        for number, _, _, site in batch:
            (conf / f"{number}.conf").write_text(site)
        command = configured(workspace, port, conf)
        run([*command, "-t"], "apache2 -t", reason=first_error)
        with subprocess.Popen([*command, "-DFOREGROUND"]) as apache:
            got = list(answers(port, [site[0] for site in batch]))
            apache.terminate()
        for (number, value, folder, _), answer in zip(batch, got, strict=True):
            logs = sorted(path.name for path in folder.glob("*.log"))
            meant = [str(number), f"s{number}-access.log", f"s{number}-error.log"]
            tally.count(value, "same" if [answer, *logs] == meant else f"{answer!r}, {logs}")
    tally.check()
