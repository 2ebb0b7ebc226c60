import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pylonyard
import pytest
from pylonyard.activation.host import trust
from pylonyard.activation.journal import Journal, load, name_of, save
from pylonyard.activation.steps import Effects, Grant, Join, Serve
from pylonyard.system import accounts
from pylonyard.system.errors import ActivationError
from pylonyard.system.rootfs import ABSENT, Change, Entry, Tree

OURS = Entry("file", 0o644, os.geteuid(), os.getegid(), b"ours")


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "etc").mkdir()
    return Tree(tmp_path)


def test_file_is_written_with_its_mode_and_read_back(tree):
    tree.put("/etc/cron.d/shop", OURS)

    assert tree.read("/etc/cron.d/shop") == OURS
    assert os.listdir(tree.path("/etc/cron.d")) == ["shop"]


def test_missing_files_and_folders_are_absent(tree):
    assert tree.read("/etc/none") == tree.read("/none/none") == ABSENT
    tree.put("/none/none", ABSENT)


def test_link_is_replaced_not_followed(tree, tmp_path):
    (tmp_path / "precious").write_text("precious")
    tree.path("/etc/shop").symlink_to(tmp_path / "precious")

    tree.put("/etc/shop", OURS)

    assert (tmp_path / "precious").read_text() == "precious"
    assert tree.read("/etc/shop") == OURS


@pytest.mark.parametrize(
    ("made", "found"),
    [
        (
            "link",
            "a link; root does not write through links. Replace it by a folder of root's and "
            "bind-mount the target there",
        ),
        ("file", "a file; see what it is, and move it elsewhere"),
    ],
)
def test_way_that_is_no_folder_is_refused(tree, made, found):
    place = tree.path("/etc/cron.d")
    place.symlink_to("/tmp") if made == "link" else place.touch()

    with pytest.raises(ActivationError) as caught:
        tree.put("/etc/cron.d/shop", OURS)

    assert str(caught.value) == (f"{place}: expected a folder, got {found}")


def test_folder_that_everybody_writes_is_refused(tree):
    place = tree.path("/etc/cron.d")
    place.mkdir()
    place.chmod(0o777)

    with pytest.raises(ActivationError) as caught:
        tree.put("/etc/cron.d/shop", OURS)

    assert str(caught.value) == (
        f"{place}: everybody may write into it, and root would write there; "
        f"see what is in it, then: chmod o-w {place}"
    )


def test_folder_with_others_files_is_not_removed(tree):
    tree.put("/etc/rc2.d/S01other", OURS)

    tree.put("/etc/rc2.d", ABSENT)

    assert tree.read("/etc/rc2.d/S01other") == OURS


def test_snapshot_records_which_folder_was_missing(tree):
    assert tree.snapshot(["/var/lib/apache2"]) == {"/var": ABSENT}


def test_journal_is_kept_for_root_alone(tree, tmp_path):
    effects = Effects(
        {"/etc/x": Change(ABSENT, OURS)},
        (("www-data", "shop"),),
        {"/srv": ("shop", None, 0o2770)},
        ("shop",),
    )
    journal = Journal(
        "/srv/shop",
        3,
        "now",
        effects,
        {"/etc/x": OURS.digest},
        ("proxy",),
        effects,
        {"/etc/x": ABSENT},
        {"apache": "reload"},
        (("www-data", "shop"),),
        ("/srv",),
    )

    save(tree, tmp_path, journal)

    assert load(tree, tmp_path) == journal
    assert tree.read(name_of(tmp_path)).mode == 0o600


def test_damaged_journal_is_one_line(tree, tmp_path):
    tree.put(name_of(tmp_path), OURS)

    with pytest.raises(ActivationError) as caught:
        load(tree, tmp_path)

    assert str(caught.value) == (
        f"{tree.path(name_of(tmp_path))}: expected a journal of activations, got damaged text; "
        "move it away, and activate again"
    )


def test_effects_add_up_to_the_first_state(tmp_path):
    first = Effects().with_step(Grant(tmp_path, "shop", 0o770), 0o750)
    second = Effects().with_step(Grant(tmp_path, "shop", 0o775), 0o770)
    second = second.with_step(Join("www-data", "shop")).with_step(Serve("shop", "start"))

    both = first.then(second)

    assert both.modes == {str(tmp_path): ("shop", 0o750, 0o775)}
    assert (both.members, both.started) == ((("www-data", "shop"),), ("shop",))
    assert Effects.from_json(both.to_json()) == both


def test_files_that_others_can_change_are_not_believed(tmp_path):
    file = tmp_path / "file"
    file.touch()
    believed = trust.trusted_accounts({})
    trust.check([file], believed)
    file.chmod(0o666)

    with pytest.raises(ActivationError) as caught:
        trust.check([file], believed)

    assert str(caught.value) == (f"{file}: everybody could change what root uses; chmod o-w {file}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize(
    ("shell", "has_sudo", "by_sudo"),
    [
        ("/bin/bash", True, "let jo run this by sudo, or "),
        ("/bin/bash", False, ""),
        ("/bin/false", True, ""),
    ],
)
def test_home_of_another_is_not_taken_from_its_owner(
    tmp_path, monkeypatch, shell, has_sudo, by_sudo
):
    """Following the advice harms nobody."""
    monkeypatch.setattr(accounts, "has_sudo", lambda: has_sudo)
    os.chown(tmp_path, 4321, 4321)
    account = pwd.struct_passwd(("jo", "x", 4321, 4321, "", "/home/jo", shell))
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: account)

    with pytest.raises(ActivationError) as caught:
        trust.check([tmp_path], trust.trusted_accounts({}))

    assert str(caught.value) == (
        f"{tmp_path}: its owner jo could change what root uses; {by_sudo}"
        "serve from a checkout of root's, below /srv: docs/on-a-real-server.rst"
    )
    trust.check([tmp_path], trust.trusted_accounts({"SUDO_UID": "4321"}))


def test_libraries_of_a_module_are_looked_up_by_whatever_name():
    assert trust.libraries(Path(sys.executable))
    assert trust.libraries(Path(os.fsdecode(b"/none/caf\xe9.so"))) == []


def test_file_that_is_missing_is_one_line(tmp_path):
    with pytest.raises(ActivationError) as caught:
        trust.check([tmp_path / "none"], trust.trusted_accounts({}))

    assert str(caught.value) == f"{tmp_path}/none: No such file or directory"


def test_folder_on_the_way_counts_too(tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "file").touch()
    inner.chmod(0o777)

    with pytest.raises(ActivationError, match="inner: everybody could change"):
        trust.check([inner / "file"], trust.trusted_accounts({}))


@pytest.mark.parametrize(
    ("name", "removed"),
    [
        ("shop/__pycache__", "shop/__pycache__"),
        ("shop/__pycache__/cart.cpython-311.pyc", "shop/__pycache__"),
        ("old.pyc", "old.pyc"),
    ],
)
def test_bytecode_that_others_can_change_is_refused_and_made_anew(tmp_path, name, removed):
    (tmp_path / "shop/__pycache__").mkdir(parents=True)
    for each in ("shop/cart.py", "shop/__pycache__/cart.cpython-311.pyc", "old.pyc"):
        (tmp_path / each).touch()
    believed = trust.trusted_accounts({})
    trust.check(trust.imported(tmp_path), believed)
    (tmp_path / name).chmod(0o777)

    with pytest.raises(ActivationError) as caught:
        trust.check(trust.imported(tmp_path), believed)

    output, _, remedy = str(caught.value).partition("; ")
    assert output == f"{tmp_path}/{name}: everybody could change what root uses"
    assert remedy in (f"rm -r {tmp_path}/{removed}", f"rm {tmp_path}/{removed}")
    subprocess.run(remedy.split(), check=True)
    trust.check(trust.imported(tmp_path), believed)


def test_source_that_others_can_change_is_refused(tmp_path):
    (tmp_path / "cart.py").touch()
    (tmp_path / "cart.py").chmod(0o666)

    with pytest.raises(ActivationError, match=r"cart\.py: everybody .*; chmod o-w .*cart\.py"):
        trust.check(trust.imported(tmp_path), trust.trusted_accounts({}))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_activation_runs_no_bytecode_of_another_account(tmp_path):
    program = tmp_path / "recipes"
    shutil.copytree(Path(pylonyard.__file__).parent, program / "pylonyard")
    (tmp_path / "releases/1").mkdir(parents=True)
    for name in ("manifest.json", "bin/pylonyard"):
        (tmp_path / "releases/1" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "releases/1" / name).write_text("{}")
    (tmp_path / "current").symlink_to("releases/1")
    code = "\n".join(
        [
            "import sys",
            f"sys.path.insert(0, {str(program)!r})",
            "from pylonyard.commands import main as admin",
            f"sys.exit(admin.main({str(tmp_path)!r}, '', ['activate', '--dry-run']))",
        ]
    )
    words = [sys.executable, "-I", "-S", "-c", code]
    first = subprocess.run(words, stderr=subprocess.PIPE, text=True).stderr
    bytecode = program / "pylonyard/__pycache__"
    os.chown(bytecode, 65534, -1)

    output = subprocess.run(words, stderr=subprocess.PIPE, text=True).stderr

    assert "could change" not in first
    (line,) = output.splitlines()
    assert line.startswith(f"pylonyard: {bytecode}: its owner ")
    assert line.endswith(f" could change what root uses; rm -r {bytecode}")


def test_caller_through_sudo_is_believed():
    assert 1234 in trust.trusted_accounts({"SUDO_UID": "1234"})
    assert 1234 not in trust.trusted_accounts({"SUDO_UID": "x"})
