"""The settings of a site, read from its configuration file."""

from collections.abc import Mapping
from dataclasses import dataclass

from paste.deploy.converters import asbool

SHORTEST_SECRET = 16
SMTP_PORT = 25
MAILS_PER_HOUR = "simplesite.error_mails_per_hour"


class SettingsError(ValueError):
    """A setting is missing or cannot be used."""


@dataclass(frozen=True)
class MailSettings:
    """Where mails about errors go, and by which server."""

    host: str
    port: int
    sender: str
    recipients: tuple[str, ...]
    most_per_hour: int


@dataclass(frozen=True)
class SiteSettings:
    """The settings in the configuration file."""

    database_url: str
    title: str
    secret: str
    debug: bool
    secure_cookies: bool | None
    """Whether cookies go by https only; None where they come by https."""
    mail: MailSettings | None


def read_settings(conf: Mapping[str, str]) -> SiteSettings:
    """Return the settings in ``conf``, refusing those the site cannot run with."""
    return SiteSettings(
        database_url=database_url(conf),
        title=conf.get("simplesite.title", "").strip() or "SimpleSite",
        secret=_secret(conf),
        debug=_switch(conf, "debug"),
        secure_cookies=(
            _switch(conf, "simplesite.secure_cookies")
            if conf.get("simplesite.secure_cookies", "").strip()
            else None
        ),
        mail=_mail_settings(conf),
    )


def database_url(conf: Mapping[str, str]) -> str:
    """Return the address of the database."""
    url = conf.get("sqlalchemy.url", "").strip()
    if not url:
        raise SettingsError("sqlalchemy.url is missing: set it to the address of the database")
    return url


def _secret(conf: Mapping[str, str]) -> str:
    secret = conf.get("simplesite.secret", "").strip()
    if len(secret) < SHORTEST_SECRET:
        state = "too short" if secret else "missing"
        raise SettingsError(
            f"simplesite.secret is {state}: "
            f"set it to at least {SHORTEST_SECRET} characters nobody can guess"
        )
    return secret


def _switch(conf: Mapping[str, str], name: str) -> bool:
    try:
        return bool(asbool(conf.get(name, False)))
    except ValueError:
        raise SettingsError(f"{name} must be true or false, not {conf[name]!r}") from None


def _mail_settings(conf: Mapping[str, str]) -> MailSettings | None:
    recipients = tuple(conf.get("email_to", "").replace(",", " ").split())
    if not recipients:
        return None
    host, _, port = conf.get("smtp_server", "localhost").strip().partition(":")
    if port and not port.isdecimal():
        raise SettingsError(f"the port of smtp_server must be a number, not {port!r}")
    most = conf.get(MAILS_PER_HOUR, "").strip() or "10"
    if not most.isdecimal() or not int(most):
        raise SettingsError(f"{MAILS_PER_HOUR} must be a number above 0, not {most!r}")
    return MailSettings(
        host=host or "localhost",
        port=int(port or SMTP_PORT),
        sender=conf.get("error_email_from", "").strip() or "simplesite@localhost",
        recipients=recipients,
        most_per_hour=int(most),
    )
