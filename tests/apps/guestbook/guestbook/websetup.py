import transaction
from sqlalchemy import engine_from_config

from guestbook.model import Base, DBSession, Entry, init_model


def setup_app(command, conf, variables):
    engine = engine_from_config(conf.local_conf, "sqlalchemy.")
    init_model(engine)
    Base.metadata.create_all(engine)
    DBSession.add(Entry(text="Välkommen"))
    transaction.commit()
