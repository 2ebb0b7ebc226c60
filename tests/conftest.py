import os
import signal

import pytest
import support
from pylonyard.system import progress

# A cache that the developer shares is not a test's.
os.environ.pop("BUILDOUT_HOME", None)

# Tests compare all that commands print, also on a slow machine.
os.environ[progress.CAPTURED] = "1"

# In the background, or under nohup, programs ignore what some tests send them.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
# Whoever connects to a handover that a test has made sends this, which would end the worker: a
# test can block it in its own thread alone.
signal.signal(signal.SIGIO, lambda *_: None)


STRICT = bool(os.environ.get("PYLONYARD_STRICT"))
"""Whether a warning or a skipped test is a failure: .ci/run says so.

In a user's run a newer Python, or a newer library, may warn.
"""


def pytest_configure(config):
    if STRICT:
        config.addinivalue_line("filterwarnings", "error")


def pytest_ignore_collect(collection_path, config):
    """Leave out what would be read only to be deselected: that takes seconds."""
    if (
        config.option.markexpr == "not system"
        and collection_path == config.rootpath / "tests" / "system"
    ):
        return True
    return None


LONGEST = [
    "test_server_control.py",
    "test_offline.py",
    "test_frameworks.py",
    "test_real_root.py",
    "test_no_failed_request.py",
    "test_hostile_account.py",
    "test_kills.py",
    "test_bare_machine.py",
    "test_environments.py",
    "test_bundled_release.py",
    "test_fresh_checkout.py",
    "test_init_and_cron.py",
]
"""The files that take longest, in the order in which they are begun."""


def pytest_xdist_auto_num_workers(config):
    """Run three files at a time, or one if files were named.

    On two cores: a third of the time, a test waits for a server, a clock or a disk.
    """
    named = config.args_source is pytest.Config.ArgsSource.ARGS
    return 0 if named or config.option.keyword else 3


def pytest_collection_modifyitems(items):
    """Begin with the files that take longest, so that no worker waits for one at the end."""
    order = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """Wheels, eggs and a cache that sandboxes of tests share."""
    return support.make_store(tmp_path_factory.mktemp("shared") / "store")


@pytest.fixture
def sandbox(tmp_path, store):
    """A sandbox with a good configuration, in which nothing has run yet."""
    with support.reset_buildout():
        yield support.Sandbox(tmp_path / "sandbox", store)


def pytest_sessionfinish(session):
    """Fail if a test was skipped where none may be."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter and reporter.stats.get("skipped")  # a worker has no reporter
    if STRICT and skipped:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


# A crontab program that keeps its text in a file.
CRONTAB = """#!/bin/sh
case "$1" in
  -l) test -f {file} || {{ echo 'no crontab for me' >&2; exit 1; }}; cat {file};;
  -r) rm {file};;
  -) cat > {file};;
esac
"""


@pytest.fixture
def crontab(tmp_path, monkeypatch):
    """Return the file in which a crontab program on the PATH keeps its text."""
    file, program = tmp_path / "kept", tmp_path / "programs" / "crontab"
    program.parent.mkdir()
    program.write_text(CRONTAB.format(file=file))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return file
