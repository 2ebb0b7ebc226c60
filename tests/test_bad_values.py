"""Errors of a user, as data: a configuration -> the message, one line.

Each row runs zc.buildout over a sandbox in which a release is live.
"""

import pytest
import support
from zc.buildout import UserError

# Whole runs of buildout, in process.
pytestmark = pytest.mark.system

PORT = "expected a whole number (a TCP port) from 1 to 65535"
HOST = "expected a host name or address"
PATH = "expected a path without control characters"
LINE = "expected one line without control characters"
EMAIL = "expected an e-mail address"
NAME = (
    "expected a name of at most 30 small letters, digits, - and _, starting with a letter"
    " (not bin, buildout, etc, pylonyard, test)"
)
ACCOUNT = (
    "expected an existing account, got 'nosuchaccount'; "
    "make it, as root, with: useradd --system --user-group --no-create-home "
    "--shell /usr/sbin/nologin nosuchaccount"
)
FIELDS = "expected five fields separated by one space, or @hourly and the like"
STAGES = "expected development or staging or production"
MODES = "expected proxy or mod_wsgi or embedded"
NO_DEBUG = "expected false outside development"
NO_DEBUGGER = "expected no debugger outside development"
ALL_ROLES = "app ini wsgi vhost init cron"

TEMPLATES = {
    "latin.ini": b"[app:main]\nname = \xfc\n",
    "prose.ini": b"Dear reader,\n",
    "debug.ini": b"[app:main]\nuse = egg:Shop\n[filter:x]\ndebug = true\n",
    "twice.ini": b"[app:main]\n[app:main]\n",
    "apps.ini": b"[app:a]\n[app:b]\n",
    "empty.ini": b"",
}

SITE = [
    ({"site:name": ""}, f"[site] name: {NAME}, got ''"),
    ({"site:name": "Shop"}, f"[site] name: {NAME}, got 'Shop'"),
    ({"site:name": "my.shop"}, f"[site] name: {NAME}, got 'my.shop'"),
    ({"site:name": "../shop"}, f"[site] name: {NAME}, got '../shop'"),
    ({"site:name": "shop\nevil"}, f"[site] name: {NAME}, got 'shop\\nevil'"),
    ({"site:name": "bin"}, f"[site] name: {NAME}, got 'bin'"),
    ({"site:name": "pylonyard"}, f"[site] name: {NAME}, got 'pylonyard'"),
    ({"site:port": ""}, f"[site] port: {PORT}, got ''"),
    ({"site:port": "0"}, f"[site] port: {PORT}, got '0'"),
    ({"site:port": "65536"}, f"[site] port: {PORT}, got '65536'"),
    ({"site:port": "80a"}, f"[site] port: {PORT}, got '80a'"),
    ({"site:port": "-1"}, f"[site] port: {PORT}, got '-1'"),
    ({"site:port": "8080\n9090"}, f"[site] port: {PORT}, got '8080\\n9090'"),
    ({"site:server-name": ""}, f"[site] server-name: {HOST}, got ''"),
    ({"site:server-name": "a b"}, f"[site] server-name: {HOST}, got 'a b'"),
    ({"site:server-name": 'x"y'}, f"[site] server-name: {HOST}, got 'x\"y'"),
    ({"site:server-name": "a%b"}, f"[site] server-name: {HOST}, got 'a%b'"),
    ({"site:server-name": "$${x}"}, f"[site] server-name: {HOST}, got '$${{x}}'"),
    ({"site:server-name": "example.org/"}, f"[site] server-name: {HOST}, got 'example.org/'"),
    (
        {"site:server-name": "${nowhere:name}"},
        "The referenced section, 'nowhere', was not defined.",
    ),
    ({"site:server-alias": "a.org b_c"}, f"[site] server-alias: {HOST}, got 'b_c'"),
    (
        {"site:user": "nosuchaccount", "site:environment": "development"},
        f"[site] user: {ACCOUNT}",
    ),
    ({"site:user": "no such"}, "[site] user: expected an account name, got 'no such'"),
    ({"site:mode": "cgi"}, f"[site] mode: {MODES}, got 'cgi'"),
    ({"site:environment": "live"}, f"[site] environment: {STAGES}, got 'live'"),
    ({"site:eggs": "Shop\x01"}, f"[site] eggs: {LINE}, got 'Shop\\x01'"),
    (
        {"site:roles": "app nothing"},
        "[site] roles: expected sections of this buildout, got nothing",
    ),
    ({"site:roles": "a/b"}, "[site] roles: expected a section name, got 'a/b'"),
    ({"site:sever-name": "x"}, "[site] sever-name: unknown, did you mean server-name?"),
    (
        {"site:port": "x", "site:mode": "cgi"},
        f"[site] port: {PORT}, got 'x'; mode: {MODES}, got 'cgi'",
    ),
]
APP = [
    ({"app:eggs": ""}, "[app] eggs: expected at least one requirement, got ''"),
    (
        {"app:eggs": "not a requirement"},
        "[app] eggs: expected a requirement such as SimpleSite==0.3.0, got 'not a requirement'",
    ),
    (
        {"app:eggs": "Missing"},
        "[app] eggs: cannot get Missing: it is not in {1}/cache/dist, {1}/wheels, nor is there a "
        "page of it in the index {1}/index",
    ),
    (
        {"app:eggs": "Shop ==9"},
        "[app] eggs: cannot get Shop==9: there is only Shop 1.0; find-links has it, so no index is "
        "asked: from-index = Shop has it asked",
    ),
    (
        {"app:develop": "src/nothing"},
        "[app] develop: cannot build {0}/src/nothing: no pyproject.toml and no setup.py there",
    ),
    (
        {"app:sources": "src/nothing"},
        "[app] sources: cannot build {0}/src/nothing: no pyproject.toml and no setup.py there",
    ),
    ({"app:sources": "/src\0"}, f"[app] sources: {PATH}, got '/src\\x00'"),
    (
        {"app:extra-paths": "~nosuchaccount/x"},
        "[app] extra-paths: expected a path whose account exists, got '~nosuchaccount/x'",
    ),
    (
        {"app:scripts": "shop nowhere"},
        "[app] scripts: expected scripts of the eggs (paster, shop, shop-admin), got nowhere",
    ),
    ({"app:scripts": "../x"}, "[app] scripts: expected the name of a script, got '../x'"),
    ({"app:interpreter": "a/b"}, "[app] interpreter: expected the name of a script, got 'a/b'"),
    (
        {"app:python": "python9.9"},
        "[app] python: expected an interpreter of this machine, got 'python9.9'; "
        "install it, or name its path",
    ),
    ({"app:versions": "nothing"}, "[app] versions: expected a section, got 'nothing'"),
    (
        {"app:provided": "elementtree"},
        "[app] provided: expected name = value, got 'elementtree'",
    ),
    ({"app:find-link": "x"}, "[app] find-link: unknown, did you mean find-links?"),
]
INI = [
    ({"ini:port": "80a"}, f"[ini] port: {PORT}, got '80a'"),
    ({"ini:host": "300.1.1.1"}, f"[ini] host: {HOST}, got '300.1.1.1'"),
    ({"ini:host": "::g"}, f"[ini] host: {HOST}, got '::g'"),
    ({"ini:host": "localhost\n[evil]"}, f"[ini] host: {HOST}, got 'localhost\\n[evil]'"),
    ({"ini:server": "waitress"}, "[ini] server: expected egg:DISTRIBUTION#SERVER, got 'waitress'"),
    (
        {"ini:threads": "0"},
        "[ini] threads: expected a whole number (threads) from 1 to 1000, got '0'",
    ),
    ({"ini:debug": "yes"}, "[ini] debug: expected true or false, got 'yes'"),
    ({"ini:debug": "true"}, "[ini] debug: expected false in production, got true"),
    (
        {"ini:debug": "true", "site:environment": "staging"},
        "[ini] debug: expected false in staging, got true",
    ),
    ({"ini:template": "debug.ini"}, f"[ini] [filter:x] debug: {NO_DEBUG}, got 'true'"),
    (
        {"ini:settings": "[DEFAULT]\ndebug = true"},
        f"[ini] [DEFAULT] debug: {NO_DEBUG}, got 'true'",
    ),
    (
        {"ini:settings": "[app:main]\nset debug = on"},
        f"[ini] [app:main] set debug: {NO_DEBUG}, got 'on'",
    ),
    (
        {"ini:settings": "[filter:x]\nuse = egg:Paste#evalerror"},
        f"[ini] [filter:x] use: {NO_DEBUGGER}, got 'egg:Paste#evalerror'",
    ),
    (
        {"ini:settings": "[app:main]\npyramid.includes = pyramid_debugtoolbar"},
        f"[ini] [app:main] pyramid.includes: {NO_DEBUGGER}, got 'pyramid_debugtoolbar'",
    ),
    (
        {"ini:template": "missing.ini"},
        "[ini] template: cannot read {0}/missing.ini: No such file or directory",
    ),
    ({"ini:template": "."}, "[ini] template: cannot read {0}: Is a directory"),
    ({"ini:template": "latin.ini"}, "[ini] template: cannot read {0}/latin.ini: it is not UTF-8"),
    (
        {"ini:template": "prose.ini"},
        "[ini] template {0}/prose.ini: File contains no section headers. line: 1 'Dear reader,'",
    ),
    (
        {"ini:template": "twice.ini"},
        "[ini] template {0}/twice.ini: [line 2]: section 'app:main' already exists",
    ),
    (
        {"ini:template": "apps.ini"},
        "[ini] section: expected the application's section, as the ini has app:a, app:b",
    ),
    (
        {"ini:template": "empty.ini"},
        "[ini] section: expected the application's section, as the ini has none",
    ),
    (
        {"ini:section": "app:other"},
        "[ini] section: expected a section of the ini, got 'app:other'",
    ),
    (
        {"ini:section": "[app:main]"},
        "[ini] section: expected a section such as app:main, got '[app:main]'",
    ),
    (
        {"ini:settings": "title = a"},
        "[ini] settings: File contains no section headers. line: 1 'title = a'",
    ),
    (
        {"ini:settings": "[app:main]\nnonsense"},
        "[ini] settings: Source contains parsing errors: [line 2]: 'nonsense'",
    ),
    ({"ini:email-to": "a@b.org ops"}, f"[ini] email-to: {EMAIL}, got 'ops'"),
    ({"ini:error-email-from": "<me@x>"}, f"[ini] error-email-from: {EMAIL}, got '<me@x>'"),
    ({"ini:smtp-server": "mail server"}, f"[ini] smtp-server: {HOST}, got 'mail server'"),
    (
        {"ini:log-level": "LOUD"},
        "[ini] log-level: expected DEBUG or INFO or WARNING or ERROR or CRITICAL, got 'LOUD'",
    ),
    ({"ini:log-file": ""}, f"[ini] log-file: {PATH}, got ''"),
    ({"ini:log-file": "a\x07b"}, f"[ini] log-file: {PATH}, got 'a\\x07b'"),
    (
        {"ini:log-file": "/a ;b"},
        "[ini] log-file: \"('/a ;b', 'a')\" has edge white space or ' ;', which an ini file loses",
    ),
    ({"ini:database-url": "db://h\n[x]"}, f"[ini] database-url: {LINE}, got 'db://h\\n[x]'"),
    (
        {"ini:database-url": "db://h ;x"},
        "[ini] database-url: 'db://h ;x' has edge white space or ' ;', which an ini file loses",
    ),
    (
        {"ini:egg": "a b c"},
        "[ini] egg: expected a requirement such as SimpleSite==0.3.0, got 'a b c'",
    ),
    ({"ini:application": "a b"}, "[ini] application: expected a name, got 'a b'"),
    ({"ini:secrets": "key"}, "[ini] secrets: expected name = value, got 'key'"),
    (
        {"ini:secrets": "key = s3cret"},
        "[ini] secrets: expected generate, uuid, file:PATH or env:VARIABLE, got 's3cret'",
    ),
    (
        {"ini:secrets": "a/b = uuid"},
        "[ini] secrets: expected names of letters, digits, _, . and -, got 'a/b'",
    ),
    (
        {"ini:secrets": "k = env:NO_SUCH_VARIABLE", "ini:settings": "[a]\nk = <secret:k>"},
        "[ini] secrets: k: expected the environment variable NO_SUCH_VARIABLE, which is not set",
    ),
    (
        {"ini:secrets": "k = file:/nowhere/k", "ini:settings": "[a]\nk = <secret:k>"},
        "[ini] secrets: k: cannot read /nowhere/k: No such file or directory",
    ),
    (
        {"ini:settings": "[a]\nk = <secret:k>"},
        "[ini] secrets: expected declared secrets (app_instance_secret, app_instance_uuid), got k",
    ),
    (
        {"ini:secrets-folder": "shop.ini/x"},
        "[ini] secrets: app_instance_secret: cannot keep it in {0}/shop.ini/x: Not a directory",
    ),
    ({"ini:setup": "maybe"}, "[ini] setup: expected true or false, got 'maybe'"),
    ({"ini:user": "nosuchaccount"}, f"[ini] user: {ACCOUNT}"),
    ({"ini:secret": "x"}, "[ini] secret: unknown, did you mean secrets?"),
]
INIT = [
    ({"init:port": "65536"}, f"[init] port: {PORT}, got '65536'"),
    ({"init:host": "*"}, f"[init] host: {HOST}, got '*'"),
    ({"init:environment": "test"}, f"[init] environment: {STAGES}, got 'test'"),
    (
        {"init:check-path": "health"},
        "[init] check-path: expected a URL path that starts with /, got 'health'",
    ),
    (
        {"init:start-timeout": "0"},
        "[init] start-timeout: expected a whole number of seconds from 1 to 3600, got '0'",
    ),
    (
        {"init:stop-timeout": "1h"},
        "[init] stop-timeout: expected a whole number of seconds from 1 to 3600, got '1h'",
    ),
    ({"init:umask": "9"}, "[init] umask: expected a mode of three octal digits, got '9'"),
    (
        {"init:open-files": "10"},
        "[init] open-files: expected a whole number (open files) from 64 to 1048576, got '10'",
    ),
    ({"init:variables": "LANG"}, "[init] variables: expected name = value, got 'LANG'"),
    ({"init:variables": "A\0B = x"}, f"[init] variables: {LINE}, got 'A\\x00B'"),
    ({"init:home": "/nowhere"}, "[init] home: expected an environment, got '/nowhere'"),
    (
        {"init:log-folder": "a*b"},
        "[init] log-folder: '{0}/a*b/shop.log' has a character that "
        "logrotate cannot hold in a path",
    ),
    (
        {"init:log-folder": 'a"b'},
        "[init] log-folder: '{0}/a\"b/shop.log' has a character that "
        "logrotate cannot hold in a path",
    ),
    ({"init:start-timout": "1"}, "[init] start-timout: unknown, did you mean start-timeout?"),
]
CRON = [
    (
        {"cron:schedule": "60 * * * *"},
        "[cron] schedule: expected a minute from 0 to 59, got '60'",
    ),
    ({"cron:schedule": "* 24 * * *"}, "[cron] schedule: expected an hour from 0 to 23, got '24'"),
    (
        {"cron:schedule": "* * * * mon-fry"},
        "[cron] schedule: expected a day of the week from 0 to 7, got 'mon-fry'",
    ),
    ({"cron:schedule": "* * * * * *"}, f"[cron] schedule: {FIELDS}, got '* * * * * *'"),
    ({"cron:schedule": "@sometimes"}, f"[cron] schedule: {FIELDS}, got '@sometimes'"),
    ({"cron:schedule": ""}, f"[cron] schedule: {FIELDS}, got ''"),
    ({"cron:mailto": "me you"}, f"[cron] mailto: {EMAIL} or an account, got 'me you'"),
    (
        {"cron:mailto": "ops@x\nSHELL=/x"},
        f"[cron] mailto: {EMAIL} or an account, got 'ops@x\\nSHELL=/x'",
    ),
    ({"cron:mailto": 'a"b@x'}, f"[cron] mailto: {EMAIL} or an account, got 'a\"b@x'"),
    ({"cron:target": "anacron"}, "[cron] target: expected cron.d or crontab, got 'anacron'"),
    ({"cron:user": "nosuchaccount"}, f"[cron] user: {ACCOUNT}"),
    ({"cron:mail-to": "x"}, "[cron] mail-to: unknown, did you mean mailto?"),
]
RELEASE = [
    ({"release:sites": ""}, "[release] sites: expected at least one section, got ''"),
    ({"release:sites": "nothing"}, "[release] sites: expected a section, got 'nothing'"),
    (
        {"release:sites": "site ini"},
        "[release] sites: expected a section of recipe pylonyard:site, got 'ini'",
    ),
    (
        {"release:sites": "site blog", "blog:<": "site"},
        "[release] sites: expected a name for each, got shop twice; "
        "sites: expected a port for each, got 8080 twice",
    ),
    (
        {"release:sites": "site blog", "blog:<": "site", "blog:name": "blog"},
        "[release] sites: expected a port for each, got 8080 twice",
    ),
    (
        {"release:keep": "0"},
        "[release] keep: expected a whole number (releases) from 1 to 1000, got '0'",
    ),
    (
        {"release:unchecked": "ignore"},
        "[release] unchecked: expected refuse or allow or default, got 'ignore'",
    ),
    ({"release:site": "x"}, "[release] site: unknown, did you mean sites?"),
    ({"buildout:parts": "release x"}, "The referenced section, 'x', was not defined."),
]
VHOST = [
    ({"vhost:listen-port": "0"}, f"[vhost] listen-port: {PORT}, got '0'"),
    ({"vhost:httpd-port": "99999"}, f"[vhost] httpd-port: {PORT}, got '99999'"),
    ({"vhost:listen": "a b"}, f"[vhost] listen: {HOST}, got 'a b'"),
    ({"vhost:server-name": "a\nb"}, f"[vhost] server-name: {HOST}, got 'a\\nb'"),
    ({"vhost:server-alias": "a_b"}, f"[vhost] server-alias: {HOST}, got 'a_b'"),
    ({"vhost:mode": "cgi"}, f"[vhost] mode: {MODES}, got 'cgi'"),
    (
        {"vhost:backends": ""},
        "[vhost] backends: expected at least one host:port in mode proxy, got ''",
    ),
    ({"vhost:backends": "localhost"}, "[vhost] backends: expected host:port, got 'localhost'"),
    ({"vhost:backends": "localhost:0"}, f"[vhost] backends: {PORT}, got '0'"),
    (
        {"vhost:timeout": "0"},
        "[vhost] timeout: expected a whole number (seconds) from 1 to 86400, got '0'",
    ),
    (
        {"vhost:threads": "0"},
        "[vhost] threads: expected a whole number (threads) from 1 to 100, got '0'",
    ),
    ({"vhost:log-folder": "a\x01"}, f"[vhost] log-folder: {PATH}, got 'a\\x01'"),
    (
        {"vhost:static": "/x = /srv/a*b"},
        "[vhost] static: expected a folder without *, ?, [ and ], got '/srv/a*b'",
    ),
    (
        {"vhost:static": "/x = ."},
        "[vhost] static: expected a folder that does not hold the sandbox, got '{0}'",
    ),
    (
        {"vhost:directives": "</VirtualHost>"},
        "[vhost] directives: expected complete sections, got: "
        "line 1: </VirtualHost> closes what is not open",
    ),
    (
        {"vhost:directives": "SetEnv A $${PATH}"},
        "[vhost] directives: expected directives without ${, which Apache would expand, "
        "got 'SetEnv A $${PATH}'",
    ),
    (
        {"vhost:ssl-certificate": "/x"},
        "[vhost] ssl-certificate: expected both this and ssl-key, got only one",
    ),
    ({"vhost:hsts": "10"}, "[vhost] hsts: expected 0 without ssl-certificate, got '10'"),
    ({"vhost:group": "no such"}, "[vhost] group: expected an existing group, got 'no such'"),
    ({"vhost:disable-sites": "../x"}, "[vhost] disable-sites: expected a site's name, got '../x'"),
    ({"vhost:redirect": "perhaps"}, "[vhost] redirect: expected true or false, got 'perhaps'"),
    ({"vhost:sever-name": "x"}, "[vhost] sever-name: unknown, did you mean server-name?"),
    ({"wsgi:mode": "cgi"}, f"[wsgi] mode: {MODES}, got 'cgi'"),
    (
        {"wsgi:mode": "mod_wsgi", "wsgi:version": "6.x"},
        "[wsgi] version: expected a version such as 6.1.1, got '6.x'",
    ),
    ({"wsgi:home": "/env\0"}, f"[wsgi] home: {PATH}, got '/env\\x00'"),
    ({"wsgi:verison": "6"}, "[wsgi] verison: unknown, did you mean version?"),
]
ROWS = [*SITE, *APP, *INI, *INIT, *CRON, *RELEASE]
ROWS += [({**options, "site:roles": ALL_ROLES}, message) for options, message in VHOST]

# Found out only once the parts have been staged: parts/ is new, what is live is not.
LATE = [
    (
        {"ini:settings": "[app:main]\nuse = %(nothing)s"},
        "[ini] shop/production.ini: refused by PasteDeploy: Bad value substitution: "
        "option 'use' in section 'app:main' contains an interpolation key 'nothing' "
        "which is not a valid option name. Raw value: '%(nothing)s'",
    ),
    (
        {"site:roles": "app ini init cron other", "other:<": "cron", "other:schedule": "@daily"},
        "[other] etc/cron.d/shop: expected one content, but [cron] has another for it",
    ),
    (
        {"buildout:parts-directory": "shop.ini"},
        "[app] cannot write {0}/shop.ini: File exists",
    ),
]


@pytest.fixture(scope="module")
def live(tmp_path_factory, store):
    """A sandbox in which a release is live; a row that spoils it fails the next ones."""
    with support.reset_buildout():
        sandbox = support.Sandbox(tmp_path_factory.mktemp("bad") / "sandbox", store)
        for name, content in TEMPLATES.items():
            (sandbox.directory / name).write_bytes(content)
        # Of an account that an activation is to make.
        own = "environment = production\nuser = shop-to-be"
        sandbox.config = sandbox.config.replace("environment = development", own)
        sandbox.run()
        sandbox.before = sandbox.snapshot(".installed.cfg")
        yield sandbox


@pytest.fixture
def undone():
    with support.reset_buildout():
        yield


def refused(sandbox, options):
    with pytest.raises(UserError) as caught:
        sandbox.run(options)
    return str(caught.value)


@pytest.mark.parametrize(("options", "message"), ROWS)
def test_bad_value_is_one_line_and_changes_nothing(live, undone, options, message):
    output = refused(live, options)

    assert output == spelled(message, live)
    assert "\n" not in output
    assert live.snapshot(".installed.cfg") == live.before


def spelled(message, sandbox):
    return message.replace("{0}", str(sandbox.directory)).replace("{1}", str(sandbox.store))


@pytest.mark.parametrize(("options", "message"), LATE)
def test_error_that_is_found_late_changes_nothing_live(live, undone, options, message):
    def of_what_is_live():
        parts = f"{live.directory}/parts/"
        return {
            path: content
            for path, content in live.snapshot(".installed.cfg").items()
            if not path.startswith(parts)
        }

    before = of_what_is_live()

    assert refused(live, options) == spelled(message, live)
    assert of_what_is_live() == before


def test_every_recipe_has_rows():
    sections = {place.partition(":")[0] for options, _ in ROWS for place in options}

    assert sections >= {"site", "app", "ini", "init", "cron", "release", "vhost", "wsgi"}
    assert len({str(options) for options, _ in ROWS}) == len(ROWS) >= 70
