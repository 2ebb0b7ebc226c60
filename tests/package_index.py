"""A package index on 127.0.0.1 (PEP 503, 592, 658, 691), with small invented distributions."""

import base64
import contextlib
import functools
import hashlib
import http.server
import json
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from packaging.utils import canonicalize_name, parse_wheel_filename
from support import Quiet, make_wheel

Table = Mapping[str, Sequence[str]]
"""For each distribution, as ``name 1.0``, what it needs."""


@dataclass
class Index:
    """What an index serves, and what it was asked for."""

    folder: Path
    speaks_json: bool = True
    has_metadata: bool = True
    account: tuple[str, str] | None = None
    """The name and the password that it asks for."""
    yanked: set[str] = field(default_factory=set)
    """Names of files that were withdrawn."""
    requires_python: dict[str, str] = field(default_factory=dict)
    """For names of files the versions of Python that they are for."""
    asked: list[str] = field(default_factory=list)
    """The paths of all requests."""
    url: str = ""

    def add(self, table: Table) -> None:
        """Make a wheel for each row of a table."""
        for row, needed in table.items():
            name, version = row.split()
            requires = "\nRequires-Dist: ".join(needed)
            make_wheel(self.folder, name, version, requires=requires)

    def files(self, project: str) -> list[Path]:
        return [
            path
            for path in sorted(self.folder.iterdir())
            if canonicalize_name(path.name.partition("-")[0]) == project
        ]

    def answer(self, path: str, accepts: str) -> tuple[str, bytes] | None:
        """Return the kind and the content of what a path stands for."""
        kind, _, name = unquote(path).strip("/").partition("/")
        if kind == "files":
            return self._file(self.folder / name)
        files = self.files(name)
        if kind != "simple" or not files:
            return None
        if self.speaks_json and "json" in accepts:
            listed = {"meta": {"api-version": "1.1"}, "name": name}
            listed["files"] = [self._listed(file) for file in files]
            return "application/vnd.pypi.simple.v1+json", json.dumps(listed).encode()
        return "text/html", "\n".join(map(self._link, files)).encode()

    def _file(self, path: Path) -> tuple[str, bytes] | None:
        if path.suffix == ".metadata" and self.has_metadata:
            return "text/plain", _metadata(path.with_suffix(""))
        return ("application/octet-stream", path.read_bytes()) if path.exists() else None

    def _listed(self, file: Path) -> dict[str, object]:
        return {
            "filename": file.name,
            "url": f"/files/{file.name}",
            "hashes": {"sha256": _digest(file.read_bytes())},
            "requires-python": self.requires_python.get(file.name),
            "yanked": file.name in self.yanked,
            **(
                {"core-metadata": {"sha256": _digest(_metadata(file))}} if self._tells(file) else {}
            ),
        }

    def _link(self, file: Path) -> str:
        more = ' data-yanked=""' if file.name in self.yanked else ""
        if python := self.requires_python.get(file.name):
            more += f' data-requires-python="{python.replace("<", "&lt;").replace(">", "&gt;")}"'
        if self._tells(file):
            more += f' data-core-metadata="sha256={_digest(_metadata(file))}"'
        digest = _digest(file.read_bytes())
        return f'<a href="/files/{file.name}#sha256={digest}"{more}>{file.name}</a>'

    def _tells(self, file: Path) -> bool:
        return self.has_metadata and file.suffix == ".whl"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _metadata(wheel: Path) -> bytes:
    name, version = wheel.name.split("-")[:2]
    assert parse_wheel_filename(wheel.name)
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(f"{name}-{version}.dist-info/METADATA")


class _Handler(Quiet):
    def __init__(self, index: Index, *words: object) -> None:
        self.index = index
        super().__init__(*words)  # type: ignore[arg-type]

    def do_GET(self) -> None:  # noqa: N802
        self.index.asked.append(self.path)
        if self.index.account:
            word = base64.b64encode(":".join(self.index.account).encode()).decode()
            if self.headers.get("Authorization") != f"Basic {word}":
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="packages"')
                self.end_headers()
                return
        found = self.index.answer(self.path, self.headers.get("Accept", ""))
        if found is None:
            self.send_error(404)
            return
        kind, content = found
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextlib.contextmanager
def serve(folder: Path, table: Table, **how: object) -> Iterator[Index]:
    """Serve the distributions of a table; give the index, whose ``url`` is that of its pages."""
    folder.mkdir(exist_ok=True)
    index = Index(folder, **how)  # type: ignore[arg-type]
    index.add(table)
    handler = functools.partial(_Handler, index)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        index.url = f"http://127.0.0.1:{server.server_port}/simple"
        try:
            yield index
        finally:
            server.shutdown()
            thread.join()
