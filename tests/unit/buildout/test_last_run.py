import json
import os

import pytest
from pylonyard.buildout import last_run
from pylonyard.buildout.last_run import PLACE, failure


@pytest.fixture
def place(tmp_path):
    (tmp_path / PLACE).parent.mkdir()
    return tmp_path / PLACE


def test_failure_is_known_until_a_run_goes_well(tmp_path):
    last_run.note(tmp_path, "no such egg")
    assert failure(tmp_path).text == "no such egg"

    last_run.forget(tmp_path)
    assert failure(tmp_path) is None


@pytest.mark.parametrize("text", ["", "null", "[]", "[" * 100_000, '{"version": 2}', "\xff"])
def test_a_note_that_cannot_be_read_says_nothing(tmp_path, place, text):
    place.write_text(text, encoding="latin-1")

    assert failure(tmp_path) is None


def test_a_pipe_in_its_place_keeps_nobody_waiting(tmp_path, place):
    os.mkfifo(place)

    assert failure(tmp_path) is None


def test_note_of_a_newer_version_is_left_alone(tmp_path, place):
    place.write_text(json.dumps({"version": 2, "text": "x", "when": "y"}))

    assert failure(tmp_path) is None
