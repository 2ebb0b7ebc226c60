import socket
import threading
import time

import pytest
from pylonyard.packages import downloads
from support import serve_folder


def test_address_is_opened(tmp_path):
    (tmp_path / "page").write_text("told")
    with serve_folder(tmp_path) as address, downloads.opener().open(f"{address}/page") as answer:
        assert answer.read() == b"told"


def test_certificates_are_read_once(monkeypatch):
    asked = []
    monkeypatch.setattr(downloads, "ssl_context", lambda path: asked.append(path) or "context")
    https = downloads.Https("/certificates")
    monkeypatch.setattr(https, "do_open", lambda kind, request, context: context)

    assert [https.https_open("request") for _ in range(2)] == ["context"] * 2
    assert asked == ["/certificates"]


def test_certificates_may_be_a_folder(tmp_path):
    assert downloads.ssl_context(str(tmp_path)).cert_store_stats()["x509_ca"] == 0


def test_several_are_at_work_at_once():
    together = threading.Barrier(downloads.AT_ONCE, timeout=10)

    found = downloads.in_parallel(lambda item: (together.wait(), item)[1], range(8))

    assert sorted(found) == [(n, n) for n in range(8)]


def test_failure_is_raised_and_what_has_not_begun_never_does():
    begun = []

    def work(item):
        begun.append(item)
        if item == 0:
            raise ValueError(item)
        time.sleep(0.05)

    with pytest.raises(ValueError, match="0"):
        list(downloads.in_parallel(work, range(1000)))

    assert len(begun) < 500


def test_time_that_an_answer_may_take_is_as_before_afterwards():
    assert list(downloads.in_parallel(lambda _: socket.getdefaulttimeout(), [1])) == [
        (1, downloads.SECONDS)
    ]
    assert socket.getdefaulttimeout() is None
