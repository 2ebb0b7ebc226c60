"""The facts that are gathered of a machine before an activation."""

import grp
import os
import pwd
import socket
from pathlib import Path

import pytest
from pylonyard.activation.host import facts
from pylonyard.activation.host.facts import read_machine
from pylonyard.releases.contents import Release, Site
from pylonyard.system.rootfs import Account, Entry, Tree, account
from pylonyard.watchers.registry import starter


@pytest.mark.parametrize(("host", "running"), [("127.0.0.2", {"shop"}), ("127.0.0.1", set())])
def test_server_runs_where_the_release_has_it_listen(tmp_path, host, running):
    with socket.create_server(("127.0.0.2", 0)) as server:
        site = Site(
            name="shop",
            user="root",
            data=tmp_path,
            live=tmp_path,
            log=tmp_path,
            host=host,
            port=server.getsockname()[1],
        )

        seen = read_machine(
            Tree(tmp_path), Release(1, tmp_path, (site,), ()), {}, {}, webservers={}
        )

    assert seen.running == running


@pytest.fixture
def directory(monkeypatch):
    """A directory service that knows an account, and a group of every account, by number."""
    entries, getpwnam, getgrouplist = {}, pwd.getpwnam, os.getgrouplist
    entries["far"] = pwd.struct_passwd(("far", "x", 70001, 70002, "", "/", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwnam", lambda name: entries.get(name) or getpwnam(name))
    monkeypatch.setattr(os, "getgrouplist", lambda name, gid: [*getgrouplist(name, gid), 70003])


def test_account_of_a_directory_is_one_of_the_machine(directory):
    assert account(Tree(Path("/")), "far") == Account(
        "far", 70001, 70002, "70002", frozenset({70002, 70003})
    )


def test_group_of_a_directory_is_one_of_the_machine(directory):
    found = account(Tree(Path("/")), "root")

    assert (found.uid, found.group) == (0, grp.getgrgid(0).gr_name)
    assert 70003 in found.groups


def test_account_of_a_directory_is_none_of_a_tree_with_its_own(directory, tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("near:x:7:8::/:/bin/sh\n")
    (tmp_path / "etc/group").write_text("near:x:8:\nmore:x:9:near\n")

    assert account(Tree(tmp_path), "far").uid == -1
    assert account(Tree(tmp_path), "near") == Account("near", 7, 8, "near", frozenset({8, 9}))


def test_account_that_nobody_knows_is_missing():
    assert account(Tree(Path("/")), "no-such-account").uid == -1


def test_script_that_somebody_disabled_is_in_the_run_levels_but_not_started(tmp_path):
    tree = Tree(tmp_path)
    for name in ("rc2.d/K01shop", "rc3.d/S01blog", "rc6.d/K01wiki"):
        tree.put(f"/etc/{name}", Entry("link", content=b"../init.d/x"))

    seen = read_machine(tree, Release(1, tmp_path, (), ()), {}, {}, webservers={})

    assert seen.registered == {"shop", "blog"}
    assert starter().enabled(tree) == {"blog"}


@pytest.mark.parametrize(
    ("root", "account", "program", "judges"),
    [
        ("/", 0, "/usr/sbin/logrotate", {"sh", "logrotate"}),
        ("/", 0, None, {"sh"}),
        ("/scratch", 0, "/usr/sbin/logrotate", {"sh", "logrotate"}),
        ("/scratch", 1000, "/usr/sbin/logrotate", {"sh"}),
    ],
)
def test_logrotate_validates_where_it_is_and_believes_the_file(
    monkeypatch, root, account, program, judges
):
    monkeypatch.setattr(facts.shutil, "which", lambda name, path: program)
    monkeypatch.setattr(facts.os, "geteuid", lambda: account)

    assert set(facts._checkers(Tree(Path(root)))) == judges
