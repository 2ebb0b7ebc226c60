"""The database: its engine, and the sessions requests work in."""

from typing import Any

import zope.sqlalchemy
from pyramid.config import Configurator
from pyramid.request import Request
from sqlalchemy import Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from simplesite.models import Base

SQLITE_WAIT_SECONDS = 15


def make_engine(url: str) -> Engine:
    """Return an engine for ``url``; it connects only when it is first used."""
    if make_url(url).get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": SQLITE_WAIT_SECONDS})
    event.listen(engine, "connect", _check_foreign_keys)
    return engine


def create_tables(engine: Engine) -> None:
    """Create the tables that are not there yet."""
    if engine.dialect.name == "sqlite":
        # Readers then never wait for the writer. The file itself remembers this mode.
        with engine.connect() as connection:
            connection.execute(text("PRAGMA journal_mode=WAL"))
    Base.metadata.create_all(engine)


def add_missing_tables(session: Session) -> None:
    """Create the tables that are not there yet, and commit."""
    try:
        Base.metadata.create_all(session.connection())
        session.commit()
    except DBAPIError:
        # Somebody else has just made them.
        session.rollback()


def include(config: Configurator, url: str) -> None:
    """Give every request of the application a session in its own transaction."""
    sessions = sessionmaker(make_engine(url))
    config.registry["sessions"] = sessions
    config.add_request_method(_transaction_session, "database", reify=True)


def _transaction_session(request: Request) -> Session:
    session: Session = request.registry["sessions"]()
    zope.sqlalchemy.register(session, transaction_manager=request.tm)
    return session


def _check_foreign_keys(connection: Any, _record: object) -> None:
    """Make SQLite delete what belongs to a deleted row, as other databases do by themselves."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()
