"""zc.buildout as ``bin/buildout`` imports it, in a process of its own."""

import subprocess
import sys

import pytest
from support import serve_folder

PAGE = """\
<html><body>
<a href="Shop-1.0.tar.gz">Shop-1.0.tar.gz</a>
<a href="Shop-2.0.tar.gz" data-requires-python="&gt;=99">Shop-2.0.tar.gz</a>
</body></html>
"""

IMPORTED = """\
import sys
import pylonyard.buildout.driver
print(sorted(name for name in sys.modules if name.startswith("pip.")))
"""

READ = """\
import sys
import pylonyard.buildout.driver
from zc.buildout._package_index import PackageIndex
index = PackageIndex(sys.argv[1])
index.process_url(sys.argv[1] + "/shop/", True)
print([found.version for found in index["shop"]])
"""


@pytest.fixture
def index(tmp_path):
    """The address of an index with a release for this Python, and one for a later one."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "index.html").write_text(PAGE)
    with serve_folder(tmp_path) as address:
        yield address


def printed(code, *words):
    path = [place for place in sys.path if place]
    command = [sys.executable, "-c", f"import sys; sys.path[:] = {path!r}\n{code}", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.system
def test_buildout_starts_without_pip():
    assert printed(IMPORTED) == "[]"


@pytest.mark.system
def test_page_of_an_index_is_read_with_pip(index):
    assert printed(READ, index) == "['1.0']"


@pytest.mark.system
def test_zc_buildout_by_itself_imports_pip_at_once():
    code = IMPORTED.replace("pylonyard.buildout.driver", "zc.buildout.easy_install")

    assert "'pip._internal.index.package_finder'" in printed(code)
