"""A package index on loopback that asks for a password."""

import base64
import contextlib
import functools
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from support import Quiet


@dataclass
class Guarded:
    """An index, and what it was asked."""

    address: str = ""
    login: str = "ci:S3cr3t"
    asked: list[tuple[str, str]] = field(default_factory=list)
    """The path of each request, and the login that came with it."""

    @property
    def host(self) -> str:
        return self.address.removeprefix("http://")

    def with_login(self, login: str, path: str = "/simple/") -> str:
        return f"http://{login}@{self.host}{path}"


class _Handler(Quiet):
    def __init__(self, *words: object, guarded: Guarded, **named: object) -> None:
        self.guarded = guarded
        super().__init__(*words, **named)  # type: ignore[arg-type]

    def do_GET(self) -> None:  # noqa: N802
        sent = self.headers.get("Authorization", "").removeprefix("Basic ")
        login = base64.b64decode(sent).decode()
        self.guarded.asked.append((self.path, login))
        if self.path.startswith("/moved/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/moved/"))
            self.end_headers()
        elif login != self.guarded.login:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="the index"')
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            super().do_GET()


@contextlib.contextmanager
def guarded_index(folder: Path) -> Iterator[Guarded]:
    """Serve a folder to those who have the password; note who asks for what."""
    index = Guarded()
    handler = functools.partial(_Handler, guarded=index, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        index.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield index
        finally:
            server.shutdown()
            thread.join()
