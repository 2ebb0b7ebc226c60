import os
import pwd
import subprocess

import pytest
from pylonyard.config.layout import Layout
from pylonyard.environments import site_account
from pylonyard.environments.site_account import SiteAccount
from pylonyard.system import accounts
from pylonyard.system.accounts import MAKING, as_root
from pylonyard.system.errors import UserError

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
NOBODY = pwd.getpwnam("nobody").pw_uid
US = pwd.getpwuid(os.geteuid()).pw_name


@pytest.fixture
def var(tmp_path):
    for name in ("log", "run", "data/shop"):
        (tmp_path / "var" / name).mkdir(parents=True)
    return tmp_path / "var"


def site(user, environment="production"):
    return SiteAccount("shop", user, environment)


@AS_ROOT
def test_data_of_another_account_are_reported_before_anything_is_made(var):
    assert site_account.data_problem(site("nobody"), var) == ""

    (var / "data/shop/shop.db").touch()

    assert site_account.data_problem(site("root"), var) == ""
    assert site_account.data_problem(site("nobody"), var) == (
        f"nobody cannot write {var}/data/shop, of root; use a checkout of its own below /srv: "
        f"docs/on-a-real-server.rst, or, to keep these files: chown -Rh nobody: "
        f"{var}/data/shop"
    )


@AS_ROOT
def test_file_that_a_run_as_root_left_is_reported(var):
    for name in ("log", "run", "data/shop"):
        os.chown(var / name, NOBODY, -1)
    (var / "log/other.log").touch()
    assert site_account.data_problem(site("nobody"), var) == ""

    (var / "log/shop.log").touch()

    assert site_account.data_problem(site("nobody"), var) == (
        f"nobody cannot write {var}/log/shop.log, of root; use a checkout of its own below /srv: "
        f"docs/on-a-real-server.rst, or, to keep these files: chown -Rh nobody: "
        f"{var}/log/shop.log"
    )


def test_account_that_is_not_there_owns_nothing(var):
    (var / "data/shop/shop.db").touch()

    assert site_account.data_problem(site("nosuchaccount"), var) == (
        f"nosuchaccount cannot write {var}/data/shop, of {US}, and is no account of this machine "
        "yet; use a checkout of its own below /srv: docs/on-a-real-server.rst, or, to keep these "
        "files: " + as_root(f"{MAKING} nosuchaccount", f"chown -Rh nosuchaccount: {var}/data/shop")
    )


@AS_ROOT
def test_folder_that_sites_share_is_given_with_its_files_in_one_line(var):
    for name in ("log/shop.log", "log/other.log", "run/shop.lock"):
        (var / name).touch()

    giving = site_account.data_problem(site("nobody"), var).partition(" these files: ")[2]
    assert giving == (
        f"chown -h nobody: {var}/log {var}/run && "
        f"chown -Rh nobody: {var}/log/shop.log {var}/run/shop.lock"
    )
    subprocess.run(giving, shell=True, check=True)

    assert site_account.data_problem(site("nobody"), var) == ""
    assert (var / "log/other.log").stat().st_uid == 0


@AS_ROOT
def test_files_that_root_left_in_a_checkout_are_reported_with_the_way_back(tmp_path, monkeypatch):
    for name in ("parts", "cache/dist", "cache/eggs/v5"):
        (tmp_path / name).mkdir(parents=True)
    for path in (tmp_path, tmp_path / "parts", tmp_path / "cache/eggs/v5"):
        os.chown(path, NOBODY, -1)
    layout = Layout(
        directory=tmp_path,
        parts=tmp_path / "parts",
        bin=tmp_path / "bin",
        eggs=tmp_path / "cache/eggs",
        cache=tmp_path / "cache",
    )
    site_account.expect_writable(layout)
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    monkeypatch.setattr(os, "access", lambda path, bits: path.stat().st_uid == NOBODY)
    monkeypatch.setattr(accounts, "has_sudo", lambda: True)

    with pytest.raises(UserError) as caught:
        site_account.expect_writable(layout)

    places = [tmp_path / name for name in ("cache", "cache/dist", "cache/eggs")]
    giving = as_root(f"chown -Rh nobody {' '.join(map(str, places))}")
    assert str(caught.value).startswith(
        f"nobody cannot write {places[0]} and 3 more, of root; to take over what another account's "
        f"run left: {giving}"
    )


@AS_ROOT
def test_way_back_leaves_what_is_the_sites(var, monkeypatch):
    """Typed as it is told: what stands in a folder of several owners stays theirs."""
    layout = Layout(
        directory=var.parent,
        parts=var.parent / "parts",
        bin=var.parent / "bin",
        eggs=var.parent / "cache/eggs",
        cache=var.parent / "cache",
    )
    (var / "secrets").mkdir()
    os.chown(var.parent, NOBODY, -1)
    site_log = var / "log/shop.log"
    site_log.touch()
    os.chown(site_log, 4321, 4321)
    with monkeypatch.context() as patched:
        patched.setattr(os, "geteuid", lambda: NOBODY)
        patched.setattr(os, "access", lambda path, bits: path.stat().st_uid == NOBODY)
        patched.setattr(accounts, "has_sudo", lambda: True)
        with pytest.raises(UserError) as caught:
            site_account.expect_writable(layout)

        commands = (f"chown -h nobody {var}", f"chown -Rh nobody {var}/secrets")
        advised = as_root(*commands)

    assert str(caught.value).endswith(f"run left: {advised}")
    subprocess.run(" && ".join(commands), shell=True, check=True)
    owners = [path.stat().st_uid for path in (var, var / "secrets", var / "log", site_log)]
    assert owners == [NOBODY, NOBODY, 0, 4321]


@AS_ROOT
def test_root_makes_no_release_in_a_checkout_of_anothers(tmp_path):
    assert site_account.root_problem(tmp_path) == ""

    os.chown(tmp_path, NOBODY, -1)

    assert site_account.root_problem(tmp_path) == (
        f"{tmp_path} belongs to nobody, who could not change files that root makes there; "
        "run this as nobody, without sudo: only bin/pylonyard activate needs root"
    )


@AS_ROOT
def test_only_an_empty_folder_is_taken_over(var):
    site_account.take_over(var / "log", (NOBODY, NOBODY))
    assert (var / "log").stat().st_uid == NOBODY

    (var / "run/lock").touch()
    site_account.take_over(var / "run", (NOBODY, NOBODY))
    assert (var / "run").stat().st_uid == 0

    (var / "link").symlink_to("run")
    with pytest.raises(OSError, match="Not a directory"):
        site_account.take_over(var / "link", (NOBODY, NOBODY))


@AS_ROOT
def test_root_in_another_s_checkout_learns_how_the_owner_gets_it_back(tmp_path):
    assert site_account.root_warning(tmp_path) == ""
    os.chown(tmp_path, NOBODY, -1)

    assert site_account.root_warning(tmp_path) == (
        f"{tmp_path} belongs to nobody; to give nobody what root has made in it: "
        f"chown -Rh --from=root nobody {tmp_path}"
    )
