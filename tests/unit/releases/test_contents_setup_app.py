import os
import stat

import pytest
from pylonyard.config.converters import account
from pylonyard.config.layout import Layout
from pylonyard.releases.contents import Setup, set_up
from pylonyard.system.errors import UserError

PASTER = """#!/bin/sh
echo "$@ in $(pwd) as $USER" >> {log}
{ending}
"""


@pytest.fixture
def place(tmp_path):
    """A sandbox whose release 1 has a paster that prints its arguments."""
    var = tmp_path / "var" / "data" / "shop"
    var.mkdir(parents=True)
    release = tmp_path / "releases" / "1"
    (release / "shop" / "bin").mkdir(parents=True)
    layout = Layout(tmp_path, *(tmp_path / name for name in ("parts", "bin", "eggs", "cache")))

    def paster(ending="echo Done"):
        path = release / "shop" / "bin" / "paster"
        path.write_text(PASTER.format(log=tmp_path / "log", ending=ending))
        path.chmod(0o755)
        return release, layout

    return paster


def setup(database="d1"):
    return Setup("shop", account(""), database)


def test_application_is_set_up_once_for_a_database(place, tmp_path):
    release, layout = place()

    for database in ("d1", "d1", "d2"):
        set_up(setup(database), release, layout)

    line = f"setup-app {release}/shop/production.ini in {tmp_path}/var/data/shop as {account('')}\n"
    assert (tmp_path / "log").read_text() == line * 2
    done = tmp_path / "var" / "setup"
    assert sorted(os.listdir(done)) == ["shop-d1", "shop-d2"]
    assert (done / "shop-d1").read_text().endswith("\nDone\n")
    assert stat.S_IMODE((done / "shop-d1").stat().st_mode) == 0o600


def test_failed_setup_is_reported_and_tried_again(place, tmp_path):
    release, layout = place("echo 'no such table'; exit 1")
    with pytest.raises(UserError) as caught:
        set_up(setup(), release, layout)
    assert str(caught.value) == "[shop] paster setup-app: no such table"

    place()
    set_up(setup(), release, layout)

    assert len((tmp_path / "log").read_text().splitlines()) == 2


def test_missing_data_folder_is_named(place, tmp_path):
    release, layout = place()
    (tmp_path / "var" / "data" / "shop").rmdir()

    with pytest.raises(UserError) as caught:
        set_up(setup(), release, layout)

    assert str(caught.value) == (
        f"[shop] paster setup-app: {tmp_path}/var/data/shop: No such file or directory"
    )


def test_release_that_the_account_cannot_read_is_a_likely_cause(place, tmp_path):
    release, layout = place()
    (release / "shop").rename(tmp_path / "away")

    with pytest.raises(UserError) as caught:
        set_up(setup(), release, layout)

    assert str(caught.value) == (
        f"[shop] paster setup-app: {release}/shop/bin/paster: No such file or directory; "
        f"can {account('')} read {tmp_path}?"
    )
