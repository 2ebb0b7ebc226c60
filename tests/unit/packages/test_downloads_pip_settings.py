import os

import pytest
from pylonyard.packages import downloads


@pytest.fixture
def home(tmp_path):
    """An environment in which pip finds files below ``tmp_path`` alone, but for the machine's."""
    return {"HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path / "xdg")}


def stated(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_variables_are_settings(home):
    found = downloads.read({**home, "PIP_INDEX_URL": "https://own/simple", "PIP_PROXY": ""})

    assert found["index-url"] == "https://own/simple"
    assert "proxy" not in found


@pytest.mark.parametrize("place", ["xdg/pip/pip.conf", ".pip/pip.conf", ".config/pip/pip.conf"])
def test_files_are_read_where_pip_has_them(home, tmp_path, place):
    stated(tmp_path / place, "[global]\nindex_url = https://own/simple\n")

    assert downloads.read(home)["index-url"] == "https://own/simple"


def test_most_particular_wins(home, tmp_path):
    stated(tmp_path / "xdg/pip/pip.conf", "[global]\nproxy=1\ntimeout=1\n[download]\ncert=/1\n")
    stated(tmp_path / ".config/pip/pip.conf", "[global]\nproxy=2\ntimeout=2\ncert=/2\n")

    found = downloads.read({**home, "PIP_TIMEOUT": "3"})

    assert (found["proxy"], found["timeout"], found["cert"]) == ("2", "3", "/1")


def test_file_that_is_named_replaces_the_user_s(home, tmp_path):
    stated(tmp_path / ".config/pip/pip.conf", "[global]\nproxy = 1\n")
    stated(tmp_path / "own.conf", "[global]\ncert = /own\n")

    found = downloads.read({**home, "PIP_CONFIG_FILE": str(tmp_path / "own.conf")})

    assert (found.get("proxy"), found["cert"]) == (None, "/own")


def test_no_file_is_read_if_none_is_to_be(home, tmp_path):
    stated(tmp_path / "xdg/pip/pip.conf", "[global]\nproxy = 1\n")

    assert downloads.read({**home, "PIP_CONFIG_FILE": os.devnull}) == {"config-file": os.devnull}


def test_broken_file_is_reported(home, tmp_path):
    stated(tmp_path / ".pip/pip.conf", "no section\n")

    with pytest.raises(ValueError, match=r"\.pip/pip\.conf"):
        downloads.read(home)
