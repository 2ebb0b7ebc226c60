"""Keep the credentials of package indexes in memory, and give them to the hosts they are for.

An address loses its user and password where it is read, so that no record, message or command
can show them.  They go out in a header, to the host that they were given for: never on a
command line, and never to another host to which that one redirects.  A login that an
address lacks is looked up in ``~/.netrc``, or by the command ``keyring``, as pip does.

Standard library only: ``bootstrap.py`` downloads with this while there is nothing else.
"""

import base64
import netrc
import os
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Any
from urllib.parse import quote, unquote, urlsplit

from pylonyard.system.errors import CommandError

_ADDRESS = re.compile(r"\b(https?://)([^/\s?#]*)@([^/@\s?#]*)([^\s?#]*)")
SECONDS = 60
"""How long ``keyring`` may take: it may ask for a password of its own."""

OPTIONS = ("find-links", "index")
"""The options of sections that hold addresses."""


@dataclass(frozen=True)
class Login:
    """A user of an index, and the password."""

    user: str
    password: str | None
    origin: str
    """Who has it, for messages: ``~/.netrc``."""

    @property
    def header(self) -> str:
        pair = f"{self.user}:{self.password or ''}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"


@dataclass
class Credentials:
    """The logins that this process knows."""

    given: dict[str, Login] = field(default_factory=dict)
    """For each address without credentials the login that it was given with."""
    answered: dict[str, Login] = field(default_factory=dict)
    """For each host the login with which it has answered, after it had asked for one."""

    def take(self, text: str) -> str:
        """Return a text without the credentials of its addresses, which are kept."""
        return _ADDRESS.sub(self._kept, text) if "@" in text else text

    def _kept(self, found: re.Match[str]) -> str:
        scheme, login, host, path = found.groups()
        if "${" in login:  # zc.buildout has yet to put the values in
            return found[0]
        user, colon, password = login.partition(":")
        known = Login(unquote(user), unquote(password) if colon else None, "the configuration")
        place = f"{scheme}{host}{path}"
        # An old record, which is read after the configuration, may have an old password.
        if place not in self.given or self.given[place].password is None:
            self.given[place] = known
        return place

    def find(self, url: str) -> Login | None:
        """Return the login to send to an address at once, if there is one."""
        given = self._given(url)
        if given and given.password is not None:
            return given
        return self.answered.get(_origin(url)) or self._of_netrc(url)

    def _given(self, url: str) -> Login | None:
        """Return the login that the nearest address on the same host was given with."""
        near = [place for place in self.given if _origin(place) == _origin(url)]
        near.sort(key=lambda place: (url.startswith(place), len(place)))
        return self.given[near[-1]] if near else None

    def login_for_challenge(self, url: str) -> Login | None:
        """Return the login for an address that has asked for one, from any source."""
        login = self.find(url) or self._of_netrc(url, may_be_default=True) or self._of_keyring(url)
        if login:
            self.answered[_origin(url)] = login
        return login

    def _of_netrc(self, url: str, *, may_be_default: bool = False) -> Login | None:
        host, login = urlsplit(url).hostname or "", self._given(url)
        try:
            read = netrc.netrc(os.environ.get("NETRC"))
        except (OSError, netrc.NetrcParseError):
            return None
        found = read.authenticators(host) if may_be_default else read.hosts.get(host)
        if not found or (login and login.user != found[0]):
            return None
        return Login(found[0], found[2] or "", "~/.netrc")

    def _of_keyring(self, url: str) -> Login | None:
        """Ask ``keyring`` for the password of the user in an address, as pip does."""
        program, login = shutil.which("keyring"), self._given(url)
        if program is None or login is None:
            return None
        environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
        for service in (url, urlsplit(url).netloc):
            words = [program, "get", service, login.user]
            with suppress(OSError, subprocess.TimeoutExpired):
                done = subprocess.run(
                    words,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    timeout=SECONDS,
                )
                if not done.returncode and (password := done.stdout.decode().strip()):
                    return Login(login.user, password, "keyring")
        return None

    def with_login(self, url: str) -> str:
        """Return an address with its login, for a program that gets it in its environment alone."""
        login = self.login_for_challenge(url) if url in self.given else None
        if login is None:
            return url
        words = ":".join(quote(word, safe="") for word in (login.user, login.password or ""))
        return url.replace("://", f"://{words}@", 1)


KNOWN = Credentials()
"""Those of this process."""


def _origin(url: str) -> str:
    """Return who answers for an address, as two addresses of one host have it alike."""
    parts = urlsplit(url)
    port = parts.netloc.rpartition(":")[2] if ":" in parts.netloc else ""
    return f"{parts.scheme}://{parts.hostname or ''}:{port or _PORTS.get(parts.scheme, '')}"


_PORTS = {"http": "80", "https": "443"}


class Handler(urllib.request.BaseHandler):
    """Send the login that is known for an address, and report if it is refused."""

    def __init__(self, known: Credentials = KNOWN) -> None:
        self.known = known

    def http_request(self, req: urllib.request.Request) -> urllib.request.Request:
        login = None if req.has_header(_HEADER) else self.known.find(req.full_url)
        if login:
            # A redirect leads to a request of its own, maybe to another host.
            req.add_unredirected_header(_HEADER, login.header)
        return req

    https_request = http_request

    def http_error_401(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Mapping[str, str],
    ) -> Any:
        """Ask again with a login that was not sent at once, if there is one.

        :raises CommandError: if there is none, or it was refused
        """
        fp.close()
        sent = req.get_header(_HEADER)
        login = self.known.login_for_challenge(req.full_url)
        if login and login.header != sent:
            again = urllib.request.Request(req.full_url, headers=req.headers)
            again.add_unredirected_header(_HEADER, login.header)
            return self.parent.open(again, timeout=req.timeout)
        raise refused(req.full_url, f"{code} {msg}", login)


_HEADER = "Authorization"


def refused(url: str, status: str, login: Login | None) -> CommandError:
    """Return the error that a host wants another login, or any."""
    what = f"cannot read {KNOWN.take(url)}"
    if login:
        reason = f"{status}, it refuses the password of {login.user} from {login.origin}"
        return CommandError(what, reason, "correct that")
    line = f"machine {urlsplit(url).hostname} login NAME password PASSWORD"
    reason = f"{status}, it asks for a password, and {_why_none()}"
    return CommandError(what, reason, f"write there, with mode 0600: {line}")


def _why_none() -> str:
    """Return why no password is in the file for those."""
    file = os.environ.get("NETRC", "~/.netrc")
    try:
        netrc.netrc(os.environ.get("NETRC"))
    except FileNotFoundError:
        return f"there is no {file}"
    except OSError as error:
        return f"{file} cannot be read ({error.strerror})"
    except netrc.NetrcParseError as error:
        return f"{file} is not used ({error.msg})"
    return f"{file} has none for it"
