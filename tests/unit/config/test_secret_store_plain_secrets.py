"""The settings that count as secrets which anybody may read."""

import pytest
from pylonyard.config import secret_store
from pylonyard.config.ini import Setting
from pylonyard.config.secret_store import Origin


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("shop.password", "hunter2"),
        ("password", "12345"),
        ("session.secret", "s3cr3t"),
        ("session.secret", "/Zm9vYmFy+8a="),
        ("paypal_api_key", "abc"),
        ("beaker.session.validate_key", "abc"),
        ("SMTP_TOKEN", "abc"),
        ("cache.url", "redis://:hunter2@localhost/0"),
        ("sqlalchemy.url", "postgresql://shop:hunt:er2@localhost/shop"),
        ("sqlalchemy.url", "postgresql://shop:a@b@localhost/shop"),
    ],
)
def test_secret_as_it_is_is_seen(key, value):
    assert secret_store.is_plain(key, value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("shop.password", ""),
        ("shop.password", "<secret:shop>"),
        ("shop.password", "%(password)s"),
        ("shop.secret", "salt-<secret:shop>"),
        ("token_timeout", "30"),
        ("password_min_length", "8"),
        ("secretary", "Jane"),
        ("require_password", "true"),
        ("session.key", "sid"),
        ("password_check.password", "shop.auth:check"),
        ("ssl.private_key", "/etc/ssl/private/shop.pem"),
        ("oauth.token", "https://login.example.org/token"),
        ("sqlalchemy.url", "sqlite:////srv/shop.db"),
        ("sqlalchemy.url", "postgresql://shop@localhost/shop"),
        ("sqlalchemy.url", "postgresql://shop:<secret:db:url>@localhost/shop"),
        ("sqlalchemy.url", "postgresql://shop:%(password)s@localhost/shop"),
        ("static.url", "http://localhost:8080/a@b"),
    ],
)
def test_setting_that_is_no_secret_is_left_alone(key, value):
    assert not secret_store.is_plain(key, value)


def test_setting_is_named_without_its_value():
    lines = list(secret_store.in_settings([Setting("app:main", "shop.PassWord", "x1")], "settings"))

    assert lines == [
        "settings: [app:main] shop.PassWord: expected no plain secret, which others may read; "
        "put it into a file of your own and declare that: secrets = shop-password = file:PATH, "
        "with <secret:shop-password> in its place (docs/secrets.rst)"
    ]


def test_file_that_others_can_read_is_reported(tmp_path):
    file = tmp_path / "a word"
    file.write_text("x")
    origins = [("db", Origin("file", str(file))), ("uuid", Origin("uuid"))]

    file.chmod(0o644)
    (output,) = secret_store.in_open_files(origins)
    file.chmod(0o640)

    assert output == (
        f"secrets: db: expected a file that others cannot read, got mode 0644: chmod o-rwx '{file}'"
    )
    assert list(secret_store.in_open_files(origins)) == []
