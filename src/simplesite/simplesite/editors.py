"""Editors: finding them, and checking their passwords."""

import hashlib
from functools import cache

from sqlalchemy import select
from sqlalchemy.orm import Session

from simplesite.models import Editor
from simplesite.passwords import generate_password, hash_password, password_matches


def find_editor(session: Session, name: str) -> Editor | None:
    """Return the editor called ``name``."""
    return session.scalar(select(Editor).where(Editor.name == name))


def authenticated_editor(session: Session, name: str, password: str) -> Editor | None:
    """Return the editor called ``name`` when ``password`` is theirs."""
    editor = find_editor(session, name)
    # An unknown name takes as long as a wrong password, so the time reveals no names.
    known_hash = editor.password_hash if editor else _nobodys_hash()
    return editor if password_matches(password, known_hash) and editor else None


def password_stamp(editor: Editor) -> str:
    """Return a mark of the password: a sign-in with another mark holds no longer."""
    return "p" + hashlib.sha256(editor.password_hash.encode()).hexdigest()[:24]


@cache
def _nobodys_hash() -> str:
    return hash_password(generate_password())
