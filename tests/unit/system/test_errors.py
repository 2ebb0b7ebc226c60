import errno
import resource
import subprocess
import sys
from pathlib import Path

import pylonyard
import pytest
from pylonyard.packages import wheels
from pylonyard.system import errors, progress

RECIPES = str(Path(pylonyard.__file__).parent.parent)


def group(folder, used, most):
    folder.mkdir(parents=True)
    (folder / "pids.current").write_text(f"{used}\n")
    (folder / "pids.max").write_text(f"{most}\n")
    return folder


@pytest.mark.parametrize(("kinds", "line"), [("", "0::/a/b"), ("pids", "8:pids:/a/b")])
def test_control_group_that_is_full_is_named(tmp_path, monkeypatch, kinds, line):
    ours = tmp_path / "ours"
    ours.write_text(f"7:blkio:/\n{line}\n")
    monkeypatch.setattr(errors, "OURS", ours)
    monkeypatch.setattr(errors, "CGROUPS", tmp_path)
    full = group(tmp_path / kinds / "a", 20, 20)
    group(full / "b", 3, "max")

    assert errors.limit_reached(OSError(errno.EAGAIN, "Resource temporarily unavailable")) == (
        "Resource temporarily unavailable "
        f"(limit of processes and threads: pids.max of {full} is 20)"
    )


def test_limit_of_the_account_is_named_where_no_group_has_one(tmp_path, monkeypatch):
    monkeypatch.setattr(errors, "OURS", tmp_path / "none")
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (7, 7))

    assert errors.limit_reached(RuntimeError("can't start new thread")).startswith(
        "can't start new thread (limit of processes and threads: ulimit -u is 7"
    )


def test_other_limits_are_named_with_their_value():
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]

    assert errors.limit_reached(OSError(errno.EMFILE, "Too many open files", "/a")) == (
        f"/a: Too many open files (limit of open files, ulimit -n: {files})"
    )
    assert errors.limit_reached(MemoryError()).startswith("out of memory (limit of memory in bytes")
    assert errors.with_limit("OSError: File too large").startswith(
        "OSError: File too large (limit of"
    )


def test_size_at_which_a_file_may_not_grow_is_reported(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (1024, 1024))

    assert errors.limit_of_size(1000) == " (limit of the size of a file in bytes, ulimit -f: 1024)"
    assert errors.limit_of_size(0) == ""


def test_error_that_is_no_limit_is_reported_unchanged():
    assert errors.limit_reached(OSError(errno.EACCES, "Permission denied")) == ""
    assert errors.limit_reached(RuntimeError("a bug")) == ""
    assert errors.with_limit("KeyError: 'x'") == "KeyError: 'x'"


def test_work_is_done_alone_where_no_other_process_may_be(tmp_path, monkeypatch):
    def refuse():
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(wheels.os, "fork", refuse)
    monkeypatch.setattr(wheels.os, "sched_getaffinity", lambda _: {0, 1})
    done = []

    wheels.share_work(done.append, range(10))

    assert done == list(range(10))


def test_work_is_done_without_progress_where_no_thread_may_be(monkeypatch):
    def refuse(thread):
        raise RuntimeError(errors.NO_THREAD)

    monkeypatch.setattr(progress.threading.Thread, "start", refuse)

    with progress.of("Working") as step:
        step.at(1)


def test_command_says_which_limit_is_too_low(tmp_path):
    code = (
        f"import sys; sys.path.insert(0, {RECIPES!r})\n"
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (4, 4))\n"
        "from pathlib import Path\n"
        "from pylonyard.server import cli\n"
        "def open_many(settings): return 0, str([open('/dev/null') for _ in range(9)])\n"
        "cli.load_settings = lambda *words: cli.Settings\n"
        "cli.PROXY = cli.Settings.mode = 'proxy'\n"
        "cli.Settings.name, cli.Settings.user = 'shop', None\n"
        "cli.become = lambda user: None\n"
        "sys.exit(cli.act(Path('/x/shop/server.json'), open_many))\n"
    )
    ended = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        "shop: /dev/null: Too many open files (limit of open files, ulimit -n: 4)\n"
    )
