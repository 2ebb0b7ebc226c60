"""The application's model objects"""

from helloworld.model.meta import Base, Session
from sqlalchemy import Column, Integer


class Visit(Base):
    __tablename__ = "visits"

    id = Column(Integer, primary_key=True)


def init_model(engine):
    """Call me before using any of the tables or classes in the model"""
    Session.configure(bind=engine)
