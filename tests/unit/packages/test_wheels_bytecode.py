import importlib.util
import os
import py_compile
import subprocess
import sys

import pytest
from pylonyard.packages import wheels


def sources(folder, count):
    for number in range(count):
        (folder / f"m{number}.py").write_text(f"number = {number}\n")


def states(folder):
    """Return what a change of each compiled file would change."""
    statuses = {path: path.stat() for path in folder.rglob("*.pyc")}
    return {path: (s.st_ino, s.st_mtime_ns, s.st_ctime_ns) for path, s in statuses.items()}


@pytest.mark.system
def test_every_source_has_bytecode_that_python_takes(tmp_path):
    (tmp_path / "package").mkdir()
    sources(tmp_path / "package", 2 * wheels.FEW)

    wheels.make_bytecode([tmp_path])

    made = states(tmp_path)
    assert len(made) == 2 * wheels.FEW
    code = "import sys; sys.path.insert(0, sys.argv[1]); import package.m7 as m; print(m.number)"
    printed = subprocess.check_output([sys.executable, "-v", "-c", code, tmp_path], stderr=-1)
    assert printed == b"7\n"
    assert states(tmp_path) == made


def test_source_of_another_python_is_left(tmp_path):
    (tmp_path / "old.py").write_text("print 'of 2009'\n")
    (tmp_path / "odd.py").write_text("pattern = '\\d'\n")

    wheels.make_bytecode([tmp_path])

    assert [path.name.partition(".")[0] for path in tmp_path.rglob("*.pyc")] == ["odd"]


def test_bytecode_that_cannot_be_written_is_an_error(tmp_path):
    sources(tmp_path, 1)
    (tmp_path / "__pycache__").write_text("a file")

    with pytest.raises(OSError, match="__pycache__"):
        wheels.make_bytecode([tmp_path])


def test_bytecode_of_whatever_origin_is_replaced(tmp_path):
    sources(tmp_path, 1)
    other = tmp_path / "other.py"
    other.write_text("number = 'evil'\n")
    place = importlib.util.cache_from_source(os.fspath(tmp_path / "m0.py"))
    py_compile.compile(os.fspath(other), cfile=place)
    (tmp_path / "__pycache__" / "gone.cpython-311.pyc").write_bytes(b"evil")

    wheels.recompile(tmp_path)

    names = sorted(path.name.partition(".")[0] for path in tmp_path.rglob("*.pyc"))
    assert names == ["m0", "other"]
    with open(place, "rb") as stream:
        assert b"evil" not in stream.read()
