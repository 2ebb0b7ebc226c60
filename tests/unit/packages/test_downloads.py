import base64
import gzip
import http.server
import threading

import pytest
from pylonyard.packages import downloads
from pylonyard.packages.downloads import Index, IndexAccessError
from pylonyard.packages.wheels import sha256
from support import make_wheel, serve_folder


def pin(wheel):
    name, version = wheel.name.split("-")[:2]
    return name.lower(), version, {sha256(wheel)}


@pytest.fixture
def index(tmp_path):
    """Return the folder of an index with two projects, which have a wheel each."""
    folder = tmp_path / "simple"
    for name in ("tool", "other"):
        (folder / name).mkdir(parents=True)
        wheel = make_wheel(folder / name, name, "1.0")
        link = f'<a class="x" href="{wheel.name}#sha256={sha256(wheel)}">x</a>'
        (folder / name / "index.html").write_text(f'<a href="{name}-1.0.zip#sha256=00">y</a>{link}')
    return folder


@pytest.fixture
def pins(index):
    return [pin(wheel) for wheel in sorted(index.glob("*/*.whl"))]


@pytest.fixture
def configured(monkeypatch):
    """Return a function that has pip's configuration say what it is given, and nothing else."""

    def configure(**settings):
        stated = {name.replace("_", "-"): value for name, value in settings.items()}
        monkeypatch.setattr(downloads, "read", lambda: stated)

    return configure


def test_wheels_are_brought(index, pins, configured, tmp_path):
    with serve_folder(index) as address:
        configured(index_url=address)
        downloads.download_wheels(pins, tmp_path / "dist", print)

    brought = sorted((tmp_path / "dist").iterdir())
    assert [path.name for path in brought] == [
        "other-1.0-py3-none-any.whl",
        "tool-1.0-py3-none-any.whl",
    ]
    assert [{sha256(path)} for path in brought] == [digests for _, _, digests in pins]


def test_file_that_is_not_what_the_index_says_is_not_kept(index, pins, configured, tmp_path):
    (index / "tool" / "tool-1.0-py3-none-any.whl").write_bytes(b"other")
    with serve_folder(index) as address:
        configured(index_url=address)
        downloads.download_wheels(pins, tmp_path / "dist", print)

    assert [path.name for path in (tmp_path / "dist").iterdir()] == ["other-1.0-py3-none-any.whl"]


def test_file_whose_digest_is_not_recorded_is_not_asked_for(index, pins, configured, tmp_path):
    with serve_folder(index) as address:
        configured(index_url=address)
        downloads.download_wheels([("tool", "1.0", {"0" * 64})], tmp_path / "dist", print)

    assert list((tmp_path / "dist").iterdir()) == []


def test_project_that_is_not_there_is_left_to_pip(index, configured, tmp_path):
    with serve_folder(index) as address:
        configured(index_url=address)
        downloads.download_wheels([("missing", "1.0", {"0" * 64})], tmp_path / "dist", print)

    assert list((tmp_path / "dist").iterdir()) == []


@pytest.mark.parametrize("name", downloads.PIP_ALONE)
def test_setting_that_only_pip_understands_leaves_all_to_it(name):
    assert Index.configured({name: "x"}, {}) is None


@pytest.mark.parametrize("url", ["https://me:word@own/simple", "file:///simple", "simple"])
def test_index_that_only_pip_understands_is_left_to_it(url):
    assert Index.configured({"index-url": url}, {}) is None


def test_index_is_pip_s_own_if_none_is_named():
    assert Index.configured({}, {}).url == "https://pypi.org/simple"


@pytest.mark.parametrize(
    ("settings", "environ", "expected"),
    [
        ({}, {}, None),
        ({"cert": "/own"}, {"REQUESTS_CA_BUNDLE": "/r"}, "/own"),
        ({}, {"REQUESTS_CA_BUNDLE": "/r", "CURL_CA_BUNDLE": "/c"}, "/r"),
        ({}, {"CURL_CA_BUNDLE": "/c"}, "/c"),
    ],
)
def test_certificates_are_those_that_pip_would_take(settings, environ, expected, monkeypatch):
    monkeypatch.setattr(downloads, "opener", lambda certificates: certificates)

    assert Index.configured(settings, environ).opener == expected


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("tool-1.0-py3-none-any.whl", True),
        ("tool-1.0-py2-none-any.whl", False),
        ("tool-1.0.tar.gz", False),
        ("tool-1.0.whl", False),
    ],
)
def test_wheel_is_for_us(file, expected):
    assert downloads.is_for_us(file) is expected


class Compressing(http.server.BaseHTTPRequestHandler):
    """Answers whoever has a password, compressed."""

    def do_GET(self):
        known = self.headers.get("Authorization") == "Basic " + base64.b64encode(b"a:b").decode()
        self.send_response(200 if known or "open" in self.path else 401)
        self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.wfile.write(gzip.compress(b"told") if "cut" not in self.path else b"\x1f\x8b\x08")

    def log_message(self, *words):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Compressing) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_compressed_page_is_read(server):
    index = Index(server, downloads.opener())

    assert index._read(f"{server}/open") == (f"{server}/open", b"told")


@pytest.mark.parametrize("page", ["closed", "open-cut"])
def test_index_that_wants_a_password_or_breaks_off_has_failed(server, page):
    with pytest.raises(IndexAccessError, match=page):
        Index(server, downloads.opener())._read(f"{server}/{page}")


def test_index_that_does_not_answer_is_left_to_pip(configured, tmp_path):
    configured(index_url="http://127.0.0.1:9/simple")

    downloads.download_wheels([("tool", "1.0", {"0" * 64})], tmp_path / "dist", print)

    assert list((tmp_path / "dist").iterdir()) == []
