import socket

import pytest
from pylonyard.server.settings import parse
from pylonyard.server.takeover import Takeover, TakeoverRefusedError
from pylonyard.system import listeners

from tests.unit.server.test_settings import SOURCE, VALUES

SITE = parse({**VALUES, "start-timeout": 1}, SOURCE)
PLACE = listeners.Listener(listeners.plain("127.0.0.1"), 8081, 1)
NOBODY = 2**22
"""More than any process has for its number."""


@pytest.fixture
def answers(monkeypatch):
    """Have servers, at a port of before, answer what is appended, and in the end nothing."""
    given = []
    monkeypatch.setattr(listeners, "of_processes", lambda pids: [PLACE] if pids else [])
    monkeypatch.setattr(listeners, "status", lambda *_: given.pop(0) if given else None)
    return given


def test_first_server_may_answer_anything(answers):
    alone = Takeover(SITE, [], None)
    assert alone.stop_requested
    assert not alone.is_acceptable("127.0.0.1", 1)

    answers.append(500)
    assert alone.is_acceptable("127.0.0.1", 1)


@pytest.mark.parametrize(
    ("before", "status"), [(200, 200), (200, 404), (500, 500), (None, 500), (503, 200)]
)
def test_server_that_is_no_worse_is_approved(answers, before, status):
    answers.extend([before, status])

    assert Takeover(SITE, [NOBODY], None).is_acceptable("127.0.0.1", 1)


def test_server_that_is_worse_three_times_is_refused(answers):
    answers.extend([200, 500, 502, None, 500])
    takeover = Takeover(SITE, [NOBODY], None)

    assert [takeover.is_acceptable("127.0.0.1", 1) for _ in range(3)] == [False] * 3
    with pytest.raises(TakeoverRefusedError) as caught:
        takeover.is_acceptable("127.0.0.1", 1)

    assert str(caught.value) == "/ answers 500, before 200"


def test_server_that_takes_too_long_is_refused(answers):
    takeover = Takeover(SITE, [NOBODY], None)
    takeover.check_deadline()

    takeover.deadline = 0
    with pytest.raises(TakeoverRefusedError) as caught:
        takeover.check_deadline()

    assert str(caught.value) == f"{SITE.address} did not answer in 1 s"


def test_others_end_when_whoever_asked_lets_go(answers):
    ours, theirs = socket.socketpair()
    takeover = Takeover(SITE, [NOBODY], theirs)

    with ours:
        takeover.report_line("there")
        assert ours.recv(9) == b"there\n"
        takeover.stop_others_when_acknowledged()
        assert not takeover.stop_requested

    takeover.stop_others_when_acknowledged()
    assert takeover.stop_requested
    assert takeover.stop_others()
    theirs.close()


def test_nobody_has_to_ask(answers):
    takeover = Takeover(SITE, [NOBODY], None)

    takeover.report_line("there")
    takeover.stop_others_when_acknowledged()

    assert takeover.stop_requested
