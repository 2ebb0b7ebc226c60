"""The database tables: pages, their comments, editors and their sign-ins."""

from datetime import datetime, timezone

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.dialects.mysql import MEDIUMTEXT
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

TITLE_LENGTH = 120
SLUG_LENGTH = 80
SUMMARY_LENGTH = 300
AUTHOR_LENGTH = 80
EMAIL_LENGTH = 254
EDITOR_NAME_LENGTH = 80
# MySQL's plain text ends after 65,535 bytes.
LONG_TEXT = Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb")


def utc_now() -> datetime:
    """Return the time now in UTC, without a zone since SQLite keeps none."""
    return datetime.now(timezone.utc).replace(tzinfo=None, microsecond=0)


class Base(DeclarativeBase):
    """The base of all models."""


class Page(Base):
    """A page; every page but the home page has a parent."""

    __tablename__ = "page"
    __table_args__ = (UniqueConstraint("parent_id", "slug"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("page.id", ondelete="CASCADE"))
    slug: Mapped[str] = mapped_column(String(SLUG_LENGTH))
    title: Mapped[str] = mapped_column(String(TITLE_LENGTH))
    summary: Mapped[str] = mapped_column(String(SUMMARY_LENGTH), default="")
    body: Mapped[str] = mapped_column(LONG_TEXT, default="")
    position: Mapped[int] = mapped_column(default=0)
    comments_open: Mapped[bool] = mapped_column(default=False)
    changed: Mapped[datetime] = mapped_column(default=utc_now)
    version: Mapped[int] = mapped_column(default=1)

    comments: Mapped[list["Comment"]] = relationship(
        order_by="Comment.id", cascade="all, delete-orphan", passive_deletes=True
    )


class Comment(Base):
    """A comment of a visitor on a page."""

    __tablename__ = "comment"

    id: Mapped[int] = mapped_column(primary_key=True)
    page_id: Mapped[int] = mapped_column(ForeignKey("page.id", ondelete="CASCADE"), index=True)
    author: Mapped[str] = mapped_column(String(AUTHOR_LENGTH))
    email: Mapped[str] = mapped_column(String(EMAIL_LENGTH), default="")
    text: Mapped[str] = mapped_column(Text)
    written: Mapped[datetime] = mapped_column(default=utc_now)


class Editor(Base):
    """Someone who may change the site."""

    __tablename__ = "editor"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(EDITOR_NAME_LENGTH), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))


class SignIn(Base):
    """A browser in which an editor is signed in."""

    __tablename__ = "sign_in"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    editor_id: Mapped[int] = mapped_column(ForeignKey("editor.id", ondelete="CASCADE"), index=True)
    begun: Mapped[datetime] = mapped_column(default=utc_now, index=True)


class FailedSignIn(Base):
    """A try to sign in with a wrong name or password."""

    __tablename__ = "failed_sign_in"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(EDITOR_NAME_LENGTH))
    address: Mapped[str] = mapped_column(String(64))
    moment: Mapped[datetime] = mapped_column(default=utc_now, index=True)
