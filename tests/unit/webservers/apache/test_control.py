"""A private Apache reports an account that does not exist."""

import os

import pytest
from pylonyard.webservers.apache.control import PrivateApache, main


@pytest.fixture
def httpd(tmp_path):
    (tmp_path / "httpd.conf").touch()
    return PrivateApache(
        name="shop",
        user="no-such-account",
        config=str(tmp_path / "httpd.conf"),
        pid_file=str(tmp_path / "pid"),
        log=str(tmp_path / "log"),
        port=1,
        tls_port=None,
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another account")
@pytest.mark.parametrize("action", ["start", "restart", "graceful", "configtest"])
def test_account_that_is_missing_is_reported_in_one_line(httpd, capsys, action):
    assert main(httpd, [action]) == 1

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("shop-httpd: ")
    assert "no-such-account" in line


def test_pid_file_of_no_process_is_reported(httpd, tmp_path, capsys):
    (tmp_path / "pid").write_text("2147483647\n")

    assert main(httpd, ["status"]) == 1
    assert capsys.readouterr().out == "shop-httpd is not running\n"
