from pathlib import Path

import pytest
from pylonyard.environments.pip_venv import Contents, search_options, search_variables
from pylonyard.packages import credentials
from pylonyard.packages.index import Places
from pylonyard.packages.interpreters import Interpreter

PYTHON = Interpreter(Path("/usr/bin/python2.7"), (2, 7, 18), "")


@pytest.fixture(autouse=True)
def known(monkeypatch, tmp_path):
    monkeypatch.setattr(credentials.KNOWN, "given", {})
    monkeypatch.setattr(credentials.KNOWN, "answered", {})
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PIP_FIND_LINKS", "/own")


def contents(links, index):
    places = Places(links, index)
    return Contents(
        interpreter=PYTHON, requirements=(), pins={}, links=places.links, index=places.index
    )


def test_pip_is_told_the_places_on_its_command_line():
    searched = contents(("wheels", "http://h/"), "http://i/")

    assert search_options(searched) == [
        *("--find-links", "wheels", "--find-links", "http://h/"),
        *("--index-url", "http://i/"),
    ]
    assert search_variables(searched) == {}


def test_pip_is_told_places_with_a_password_where_nobody_else_can_read_it():
    searched = contents(("wheels", "http://ci:a%40b@h/"), "http://ci:S3cr3t@i/")

    assert search_options(searched) == ["--find-links", "wheels"]
    assert search_variables(searched) == {
        "PIP_INDEX_URL": "http://ci:S3cr3t@i/",
        "PIP_FIND_LINKS": "http://ci:a%40b@h/ /own",
    }
