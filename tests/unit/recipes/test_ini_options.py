import configparser
import logging
import logging.config
import logging.handlers

import pytest
from pylonyard.config.ini import Ini
from pylonyard.recipes.base import parse
from pylonyard.recipes.ini_options import Options, apply_options

SECTION = {
    "name": "shop",
    "home": "/srv/home",
    "egg": "Shop",
    "port": "8080",
    "log-file": "/srv/var/log/shop.log",
    "data": "/srv/var/data",
    "secrets-folder": "/srv/var/secrets",
}
LOGGING = """\
[loggers]
keys = root, shop
[handlers]
keys = console
[formatters]
keys = generic, brief
[logger_root]
level = WARN
handlers = console
[logger_shop]
level = DEBUG
handlers = console, mail
qualname = shop
[handler_console]
class = StreamHandler
args = (sys.stderr,)
[formatter_generic]
format = %(asctime)s %(message)s
"""


def laid(text, **options):
    """Return what a real parser reads of ``text`` with ``options`` laid over it."""
    config = Ini(text)
    texts = {**SECTION, **{name.replace("_", "-"): value for name, value in options.items()}}
    apply_options(config, parse(Options, "ini", texts))
    parser = configparser.ConfigParser(defaults={"here": "/etc"}, interpolation=None)
    parser.optionxform = str
    parser.read_string(str(config))
    return parser


@pytest.mark.parametrize(("debug", "value"), [("false", "false"), ("true", "true")])
def test_debug_is_set_wherever_the_template_has_it(debug, value):
    text = "[DEFAULT]\ndebug = true\n[app:main]\nset debug = true\ndebug = %(debug)s\n"

    config = laid(text, debug=debug, environment="development")

    assert config["DEFAULT"]["debug"] == value
    assert (config["app:main"]["debug"], config["app:main"]["set debug"]) == (value, value)


COMPOSITE = """\
[composite:main]
use = egg:Paste#urlmap
/ = front
/api = api
[pipeline:front]
pipeline = quiet shop
[filter:quiet]
use = egg:Quiet
[app:shop]
use = egg:Shop
debug = true
{shop}
[app:api]
use = egg:Shop#api
"""


def test_database_goes_to_the_application_of_a_composite_that_has_one():
    config = laid(COMPOSITE.format(shop="sqlalchemy.url = sqlite://"), database_url="sqlite:///x")

    assert config["app:shop"]["sqlalchemy.url"] == "sqlite:///x"
    assert config["app:shop"]["debug"] == "false"
    assert set(config["composite:main"]) == {"here", "debug", "use", "/", "/api"}
    assert "sqlalchemy.url" not in config["app:api"]


def test_database_of_several_applications_needs_a_section():
    with pytest.raises(ValueError) as caught:
        laid(COMPOSITE.format(shop=""), database_url="sqlite:///x")

    assert str(caught.value) == (
        "section: expected the one that database-url is for, as [composite:main] leads to "
        "app:shop, app:api"
    )
    one = laid(COMPOSITE.format(shop=""), database_url="sqlite:///x", section="app:api")
    assert one["app:api"]["sqlalchemy.url"] == "sqlite:///x"


@pytest.mark.parametrize("key", ["sqlalchemy.url", "sqlalchemy_url", "sqlalchemy.default.url"])
def test_database_is_set_under_the_key_that_the_template_has(key):
    config = laid(f"[app:main]\n{key} = sqlite:///x\n", database_url="postgres://u:%40@h/d")

    assert config["app:main"][key] == "postgres://u:%%40@h/d"


def test_database_of_a_template_without_one_has_the_common_key():
    config = laid("[app:main]\n", database_url="sqlite:///%(here)s/x.db")

    assert config["app:main"]["sqlalchemy.url"] == "sqlite:////srv/var/data/x.db"


def test_error_reports_go_to_those_named():
    text = "[DEFAULT]\nemail_to = you@yourdomain.com\n[app:main]\nsmtp_server = x\n"

    config = laid(text, email_to="a@x.org b@x.org", error_email_from="shop@x.org")

    assert config["DEFAULT"]["email_to"] == "a@x.org b@x.org"
    assert config["DEFAULT"]["error_email_from"] == "shop@x.org"
    assert config["app:main"]["smtp_server"] == "localhost"


@pytest.mark.parametrize(
    ("before", "after"), [("you@yourdomain.com", ""), ("ops@x.org", "ops@x.org")]
)
def test_stranger_of_a_template_gets_no_reports(before, after):
    config = laid(f"[DEFAULT]\nemail_to = {before}\n[app:main]\n")

    assert config["DEFAULT"]["email_to"] == after
    assert "smtp_server" not in config["DEFAULT"]


def test_template_without_logging_logs_to_the_file():
    config = laid("[app:main]\n", log_level="ERROR")

    assert config["logger_root"]["level"] == "ERROR"
    assert config["logger_root"]["handlers"] == "logfile"
    assert config["handler_logfile"]["args"] == "('/srv/var/log/shop.log', 'a')"
    assert config["handler_logfile"]["formatter"] == "generic"


def test_console_log_goes_to_the_file():
    config = laid(LOGGING + "[app:main]\n")

    assert config["handlers"]["keys"] == "console, logfile"
    assert config["logger_root"]["handlers"] == "logfile"
    assert config["logger_shop"]["handlers"] == "logfile, mail"
    assert config["handler_logfile"]["formatter"] == "generic"


def test_formatter_is_none_where_the_template_has_none():
    config = laid("[loggers]\nkeys = root\n[app:main]\n")

    assert "formatter" not in config["handler_logfile"]


@pytest.mark.parametrize("name", ["shop.log", "it's 100% \\odd.log", "größe.log"])
def test_python_opens_the_log_that_was_meant(tmp_path, name):
    config = Ini("[app:main]\n")
    log = tmp_path / name
    apply_options(config, parse(Options, "ini", {**SECTION, "log-file": str(log)}))
    (tmp_path / "shop.ini").write_text(str(config), encoding="utf-8")

    root = logging.getLogger()
    before = list(root.handlers), root.level
    try:
        logging.config.fileConfig(
            tmp_path / "shop.ini", disable_existing_loggers=False, encoding="utf-8"
        )
        (handler,) = (
            h for h in root.handlers if isinstance(h, logging.handlers.WatchedFileHandler)
        )
        handler.close()
    finally:
        root.handlers, root.level = before

    assert log.exists()
