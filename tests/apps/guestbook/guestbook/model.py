from sqlalchemy import Column, Integer, Unicode
from sqlalchemy.orm import declarative_base, scoped_session, sessionmaker
from zope.sqlalchemy import register

DBSession = scoped_session(sessionmaker())
register(DBSession)
Base = declarative_base()


class Entry(Base):
    __tablename__ = "entries"

    id = Column(Integer, primary_key=True)
    text = Column(Unicode(200), nullable=False)


def init_model(engine):
    DBSession.configure(bind=engine)
    return DBSession
