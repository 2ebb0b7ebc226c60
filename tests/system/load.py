"""Clients that send requests without pause, and count failures."""

import http.client
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from types import TracebackType
from urllib.parse import urlsplit

PATIENCE = 60
"""Seconds that a client waits for an answer."""

Request = Callable[[http.client.HTTPConnection], int]
"""Sends a request on a connection; returns the status of the answer."""


def get(path: str, **headers: str) -> Request:
    """Return a client that requests ``path``."""
    return request("GET", path, None, {"Connection": "close", **headers})


def get_keep_alive(path: str) -> Request:
    """Return a client that requests ``path``, and keeps the connection open."""
    return request("GET", path, None, {})


def post(path: str, body: bytes, **headers: str) -> Request:
    """Return a client that sends a form."""
    form = {"Content-Type": "application/x-www-form-urlencoded", "Connection": "close"}
    return request("POST", path, body, {**form, **headers})


def request(method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Request:
    def ask(connection: http.client.HTTPConnection) -> int:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status

    return ask


class Load:
    """Run each client in a thread, for the length of a ``with`` block."""

    def __init__(self, address: str, clients: Sequence[Request]) -> None:
        place = urlsplit(address)
        self.host, self.port = str(place.hostname), int(place.port or 80)
        self.answered = 0
        self.failed: list[str] = []
        self.slowest = 0.0
        """Seconds of the slowest answer."""
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._visit, args=[ask]) for ask in clients]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _visit(self, ask: Request) -> None:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)
        with closing(connection):
            while not self._over.is_set():
                began = time.monotonic()
                try:
                    status = ask(connection)
                    problem = f"status {status}" if status >= 400 else ""
                except (OSError, http.client.HTTPException) as error:
                    connection.close()
                    problem = repr(error)
                self._count(problem, time.monotonic() - began)

    def _count(self, problem: str, seconds: float) -> None:
        with self._lock:
            self.answered += not problem
            self.slowest = max(self.slowest, seconds)
            if problem:
                self.failed.append(f"{problem} after {seconds:.2f} s")
        if problem:
            time.sleep(0.01)

    def summary(self, during: str) -> str:
        failed = len(self.failed)
        total = self.answered + failed
        return f"{failed} of {total} requests failed during {during}, slowest {self.slowest:.2f} s"


@contextmanager
def expect_no_failures(address: str, clients: Sequence[Request], during: str) -> Iterator[Load]:
    """Run clients during the block, and check that every request is answered."""
    load = Load(address, clients)
    try:
        with load:
            yield load
    finally:
        print(load.summary(during))
    assert load.answered > 0
    assert load.failed == [], f"{load.summary(during)}: {load.failed[:5]}"
