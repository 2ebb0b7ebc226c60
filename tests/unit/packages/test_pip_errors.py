import pytest
from pylonyard.packages import pip_errors

NEW = """\
Processing ./brokenlib-1.0.tar.gz
  Getting requirements to build wheel: finished with status 'error'
  error: subprocess-exited-with-error

  │ exit code: 1
  ╰─> [2 lines of output]
      reading old things

      {told}
      [end of output]

  note: This error originates from a subprocess, and is likely not a problem with pip.
ERROR: Failed to build 'brokenlib' when getting requirements to build wheel
"""

OLD = """\
Collecting other==1.0
Collecting brokenlib==1.0
  Downloading brokenlib-1.0.tar.gz (1 kB)
    ERROR: Command errored out with exit status 1:
     command: /usr/bin/python2.7 -c 'import sys'
         cwd: /tmp/pip-wheel-x/brokenlib/
    Complete output (2 lines):
    reading old things
    {told}
    ----------------------------------------
ERROR: Command errored out with exit status 1: python setup.py egg_info Check the logs.
"""

WHEEL = """\
Building wheels for collected packages: brokenlib
  Building wheel for brokenlib (setup.py): started
  ERROR: Command errored out with exit status 1:
  Complete output (2 lines):
  reading old things
  {told}
  ----------------------------------------
  ERROR: Failed building wheel for brokenlib
ERROR: Failed to build one or more wheels
"""


@pytest.mark.parametrize("output", [NEW, OLD, WHEEL])
def test_build_that_failed_is_told_with_its_last_lines_and_its_log(tmp_path, output):
    output = output.format(told="no compiler")

    told = pip_errors.reason(output, tmp_path)

    log = tmp_path / "brokenlib.log"
    assert told == (
        "cannot build brokenlib: reading old things; no compiler "
        f"(all that pip printed is in {log})"
    )
    assert log.read_text() == output


def test_name_that_the_message_has_already_is_not_told_again(tmp_path):
    told = pip_errors.reason(NEW.format(told="no compiler"), tmp_path, "brokenlib-1.0")

    log = tmp_path / "brokenlib-1.0.log"
    assert told == f"reading old things; no compiler (all that pip printed is in {log})"


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("error in brokenlib setup command: use_2to3 is invalid.", 58),
        ("AttributeError: module 'setuptools' has no attribute 'Feature'", 46),
        ("ModuleNotFoundError: No module named 'pkg_resources'", 82),
    ],
)
def test_what_only_an_older_setuptools_builds_is_told_so(tmp_path, line, version):
    told = pip_errors.reason(NEW.format(told=line), tmp_path)

    assert told.endswith(f"; only setuptools before {version} can build that")


def test_failure_of_no_build_keeps_no_log(tmp_path):
    told = pip_errors.reason("ERROR: No matching distribution found for shop (from x)", tmp_path)

    assert told == "No matching distribution found for shop"
    assert list(tmp_path.iterdir()) == []
