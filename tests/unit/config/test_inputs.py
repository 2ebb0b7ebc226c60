import json
import os
import time
from pathlib import Path

import pytest
from pylonyard.buildout import last_run
from pylonyard.config import inputs


@pytest.fixture
def watch(tmp_path):
    """Return the watch of a run that told of a release; files of before it are old enough."""
    (tmp_path / "read.cfg").write_text("a")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "made").write_text("b")
    time.sleep(inputs.CLOCK_LAG * 3 / 1e9)
    watch = inputs.Watch()
    watch.messages = ["Release 1 is current; nothing has changed."]
    watch.hook("open", (str(tmp_path / "read.cfg"), "r", 0))
    return watch


def remember(watch, folder, words=()):
    memory = watch.memory(words, [folder / "parts"], [folder / "parts"])
    (folder / ".pylonyard").mkdir(exist_ok=True)
    (folder / inputs.MEMORY).write_text(json.dumps(memory))
    return memory


def test_second_run_has_nothing_to_do_and_says_so(watch, tmp_path, capsys):
    remember(watch, tmp_path)

    assert last_run.report_unchanged([], tmp_path)
    assert capsys.readouterr().out == "pylonyard: Release 1 is current; nothing has changed.\n"


def test_folder_above_that_is_closed_takes_a_whole_run(watch, tmp_path):
    remember(watch, tmp_path)
    tmp_path.chmod(0o710)

    assert not last_run.report_unchanged([], tmp_path)


def test_processes_come_and_go(watch, tmp_path):
    watch.hook("os.listdir", ("/proc",))
    watch.hook("open", (f"/proc/{os.getpid()}/stat", "r", 0))

    assert "/proc" not in " ".join(remember(watch, tmp_path)["paths"])


def test_note_of_a_run_is_no_change_of_its_folder(watch, tmp_path):
    # Who looks for files of other accounts lists it before it is written.
    (tmp_path / ".pylonyard").mkdir()
    time.sleep(inputs.CLOCK_LAG * 3 / 1e9)
    watch.hook("os.scandir", (str(tmp_path / ".pylonyard"),))
    remember(watch, tmp_path)

    assert last_run.report_unchanged([], tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "read.cfg").write_text("b"),
        lambda folder: (folder / "read.cfg").unlink(),
        lambda folder: (folder / "read.cfg").chmod(0o600),
        lambda folder: os.utime(folder / "read.cfg", ns=(0, 0)),
        lambda folder: (folder / "parts" / "made").write_text("c"),
        lambda folder: (folder / "parts" / "made").unlink(),
        lambda folder: (folder / "parts" / "more").touch(),
        lambda folder: (folder / "parts").rename(folder / "gone"),
        lambda folder: (folder / inputs.MEMORY).write_text("{"),
        lambda folder: (folder / inputs.MEMORY).write_text("{}"),
        lambda folder: (folder / inputs.MEMORY).write_text("null"),
        lambda folder: (folder / inputs.MEMORY).unlink(),
    ],
)
def test_any_change_takes_a_whole_run(watch, tmp_path, capsys, change):
    remember(watch, tmp_path)
    change(tmp_path)

    assert not last_run.report_unchanged([], tmp_path)
    assert capsys.readouterr().out == ""


def test_files_that_a_running_site_writes_cause_no_run(watch, tmp_path):
    log = tmp_path / "var" / "log" / "shop.log"
    log.parent.mkdir(parents=True)
    log.write_text("started")
    watch.note_paths([log])
    watch.hook("os.listdir", (str(log.parent),))
    watch.hook("open", (f"/proc/{os.getpid()}/stat", "r", 0))
    memory = watch.memory([], [tmp_path / "parts"], [tmp_path / "parts"], [log.parent])
    (tmp_path / ".pylonyard").mkdir()
    (tmp_path / inputs.MEMORY).write_text(json.dumps(memory))
    assert not [path for path in memory["paths"] if path.startswith("/proc/")]

    log.write_text("started, and asked")
    (log.parent / "shop-server.log").touch()
    assert last_run.report_unchanged([], tmp_path)

    log.unlink()
    assert not last_run.report_unchanged([], tmp_path)


def test_content_of_the_same_size_and_time_is_a_change_all_the_same(watch, tmp_path):
    remember(watch, tmp_path)
    path = tmp_path / "read.cfg"
    before = path.stat()
    path.write_text("z")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert not last_run.report_unchanged([], tmp_path)


def test_other_arguments_take_a_whole_run(watch, tmp_path):
    remember(watch, tmp_path, ["site:port=1"])

    assert last_run.report_unchanged(["site:port=1"], tmp_path)
    assert not last_run.report_unchanged(["site:port=2"], tmp_path)


def test_variable_that_the_run_asked_for_counts_and_no_other(watch, tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "one")
    watch.variables.add("SECRET")
    remember(watch, tmp_path)
    monkeypatch.setenv("UNRELATED", "changes")
    assert last_run.report_unchanged([], tmp_path)

    monkeypatch.setenv("SECRET", "two")
    assert not last_run.report_unchanged([], tmp_path)


def test_file_that_was_looked_for_in_vain_counts(watch, tmp_path):
    watch.hook("open", (str(tmp_path / "absent.cfg"), "r", 0))
    remember(watch, tmp_path)
    assert last_run.report_unchanged([], tmp_path)

    (tmp_path / "absent.cfg").touch()
    assert not last_run.report_unchanged([], tmp_path)


def test_listed_folder_counts_by_its_names(watch, tmp_path):
    folder = tmp_path / "listed"
    folder.mkdir()
    watch.hook("os.listdir", (str(folder),))
    remember(watch, tmp_path)
    (folder / "__pycache__").mkdir()
    (folder / ".draft").touch()
    assert last_run.report_unchanged([], tmp_path)

    (folder / "more").touch()
    assert not last_run.report_unchanged([], tmp_path)


def test_link_counts_by_where_it_leads(watch, tmp_path):
    link = tmp_path / "current"
    link.symlink_to("parts")
    watch.seen.add(str(link))
    remember(watch, tmp_path)
    assert last_run.report_unchanged([], tmp_path)

    link.unlink()
    link.symlink_to("elsewhere")
    assert not last_run.report_unchanged([], tmp_path)


def test_source_counts_where_its_bytecode_was_opened(watch, tmp_path):
    (tmp_path / "code.py").write_text("")
    time.sleep(inputs.CLOCK_LAG * 3 / 1e9)
    watch.began = time.time_ns()
    watch.hook("open", (str(tmp_path / "__pycache__" / "code.cpython-311.pyc"), "r", 0))
    watch.hook("open", (str(tmp_path / "__pycache__" / "template-1.cache"), "r", 0))
    watch.seen.remove(str(tmp_path / "read.cfg"))

    assert remember(watch, tmp_path)["paths"] == [str(tmp_path / "code.py")]


def test_files_that_a_run_wrote_are_no_input(watch, tmp_path):
    watch.hook("open", (str(tmp_path / "written"), "w", 0))
    watch.hook("open", (str(tmp_path / "made"), None, os.O_WRONLY | os.O_CREAT))
    watch.hook("open", (7, "r", 0))
    watch.hook("import", ("os", None))
    watch.hook("subprocess.Popen", ("sh", [], None, None))

    assert watch.memory([], [], [])["paths"] == [str(tmp_path / "read.cfg")]


def test_relative_paths_are_of_the_folder_of_the_time(watch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    watch.hook("os.scandir", (None,))
    watch.hook("open", (b"read.cfg", "r", 0))

    assert str(tmp_path / "read.cfg") in watch.seen
    assert str(tmp_path) in watch.seen


def test_file_that_changed_while_the_run_was_at_work_proves_nothing(watch, tmp_path):
    (tmp_path / "read.cfg").write_text("changed")

    assert watch.memory([], [], []) is None


@pytest.fixture
def secret(tmp_path):
    """Return a file of a secret below what the site writes, old enough to be known."""
    file = tmp_path / "parts" / "data" / "password"
    file.parent.mkdir(parents=True)
    file.write_text("old")
    time.sleep(inputs.CLOCK_LAG * 3 / 1e9)
    return file


def kept(watch, tmp_path):
    """Return what is kept of a run whose own folder, and the site's, have the secret."""
    folder = tmp_path / "parts"
    return watch.memory([], [folder], [], [folder / "data"])


def test_secret_that_changes_after_it_was_read_proves_nothing(watch, tmp_path, secret):
    watch.note_file(secret)
    assert kept(watch, tmp_path) is not None

    secret.write_text("new")

    assert kept(watch, tmp_path) is None


def test_secret_counts_where_a_site_may_write_what_it_likes(watch, tmp_path, secret):
    watch.hook("open", (str(secret), "r", 0))
    watch.note_file(secret)
    (tmp_path / ".pylonyard").mkdir()
    (tmp_path / inputs.MEMORY).write_text(json.dumps(kept(watch, tmp_path)))
    assert last_run.report_unchanged([], tmp_path)

    secret.write_text("new")

    assert not last_run.report_unchanged([], tmp_path)


def test_secret_that_changed_only_just_now_proves_nothing(watch, tmp_path, secret, monkeypatch):
    # As on a file system whose clock is ahead of ours.
    monkeypatch.setattr(time, "time_ns", lambda: secret.stat().st_ctime_ns - 10**9)
    watch.note_file(secret)

    assert kept(watch, tmp_path) is None


def test_secret_that_the_run_has_made_is_known(watch, tmp_path, secret):
    secret.write_text("made")
    watch.note_file(secret, written=True)

    assert kept(watch, tmp_path) is not None


def test_run_that_warned_or_made_no_release_keeps_nothing(watch):
    watch.warned = True
    assert watch.memory([], [], []) is None

    watch.warned, watch.messages = False, []
    assert watch.memory([], [], []) is None


def test_paths_among_the_values_of_options_count(watch, tmp_path):
    watch.note_paths([8080, Path("/srv/one"), ("text", Path("/srv/two")), None])

    assert {"/srv/one", "/srv/two"} < watch.seen


@pytest.mark.parametrize(
    ("words", "plain"),
    [
        ([], True),
        (["-c", "staging.cfg"], True),
        (["-N", "-o", "site:port=8081", "-c", "a=b.cfg"], True),
        (["-v"], False),
        (["-n"], False),
        (["-D"], False),
        (["install"], False),
        (["annotate", "site"], False),
    ],
)
def test_only_plain_command_lines_are_spared(words, plain):
    assert inputs.is_plain(words) is plain
