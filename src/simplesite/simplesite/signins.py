"""Sign-ins: kept in the database, so that their end holds everywhere; and failed tries."""

import hashlib
import secrets
from datetime import timedelta
from ipaddress import IPv6Address, ip_address

from sqlalchemy import delete, func, inspect, select
from sqlalchemy.orm import Session

from simplesite.database import add_missing_tables
from simplesite.models import EDITOR_NAME_LENGTH, Editor, FailedSignIn, SignIn, utc_now

LONGEST_SIGN_IN = timedelta(days=30)
COUNTED_FOR = timedelta(minutes=15)
MOST_FAILURES_BY_NAME_AND_ADDRESS = 10
MOST_FAILURES_BY_ADDRESS = 40
# Guessing stays hopeless, and nobody can lock an editor out with a few tries from elsewhere.
MOST_FAILURES_BY_NAME = 100


def begin(session: Session, editor: Editor) -> str:
    """Record that ``editor`` signs in, and return the token of their browser."""
    session.execute(delete(SignIn).where(SignIn.begun < utc_now() - LONGEST_SIGN_IN))
    token = secrets.token_hex(16)
    session.add(SignIn(id=_digest(token), editor_id=editor.id))
    return token


def find(session: Session, token: str) -> SignIn | None:
    """Return the sign-in with this token, unless it ended."""
    if not inspect(session.connection()).has_table(SignIn.__tablename__):
        return None
    found = session.get(SignIn, _digest(token))
    return found if found and found.begun >= utc_now() - LONGEST_SIGN_IN else None


def end(session: Session, token: str) -> None:
    """End one sign-in: its cookie, copied or not, holds no longer."""
    if found := find(session, token):
        session.delete(found)


def end_all(session: Session, editor: Editor) -> None:
    """End all sign-ins of ``editor``."""
    session.execute(delete(SignIn).where(SignIn.editor_id == editor.id))


class Failures:
    """The failed tries of one visitor to sign in with one name.

    ``session`` is its own: a try counts whatever becomes of the request.
    """

    def __init__(self, session: Session, name: str, address: str) -> None:
        # A site that was set up by an older release lacks their tables.
        add_missing_tables(session)
        self._session = session
        self._name = name[:EDITOR_NAME_LENGTH]
        self._address = network_of(address)

    def minutes_to_wait(self) -> int:
        """Return for how many minutes no further try is allowed, 0 if one is."""
        by_name, by_address = FailedSignIn.name == self._name, FailedSignIn.address == self._address
        limits = (
            (MOST_FAILURES_BY_NAME_AND_ADDRESS, (by_name, by_address)),
            (MOST_FAILURES_BY_ADDRESS, (by_address,)),
            (MOST_FAILURES_BY_NAME, (by_name,)),
        )
        since = utc_now() - COUNTED_FOR
        for most, conditions in limits:
            counted = select(FailedSignIn.moment).where(FailedSignIn.moment > since, *conditions)
            latest = counted.order_by(FailedSignIn.moment.desc()).limit(1).offset(most - 1)
            if (oldest_counted := self._session.scalar(latest)) is not None:
                return int((oldest_counted - since).total_seconds()) // 60 + 1
        return 0

    def add(self) -> None:
        """Count one more, and forget those that count no longer."""
        since = utc_now() - COUNTED_FOR
        self._session.execute(delete(FailedSignIn).where(FailedSignIn.moment <= since))
        self._session.add(FailedSignIn(name=self._name, address=self._address))
        self._session.commit()

    def forget(self) -> None:
        """Forget those of this name from this address."""
        condition = (FailedSignIn.name == self._name, FailedSignIn.address == self._address)
        if self._session.scalar(select(func.count()).where(*condition)):
            self._session.execute(delete(FailedSignIn).where(*condition))
            self._session.commit()


def network_of(address: str) -> str:
    """Return what one visitor has of addresses: of IPv6 the first 64 bits, which are one site's."""
    try:
        known = ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(known, IPv6Address):
        return str(known.ipv4_mapped or IPv6Address(int(known) >> 64 << 64))
    return str(known)


def _digest(token: str) -> str:
    """Return what is stored of a token: who reads the database can sign in with none."""
    return hashlib.sha256(token.encode()).hexdigest()
