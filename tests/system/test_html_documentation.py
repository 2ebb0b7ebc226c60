"""The documentation, built as HTML."""

import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.system


def test_each_page_is_built_without_a_warning_and_is_found_from_the_first(checkout):
    site = checkout()

    output = site.run(sys.executable, "bootstrap.py", "docs").stdout

    built = site.path / "docs-html"
    assert output.endswith(f"{built}/index.html\n")
    files = site.path.glob("docs/**/*.rst")
    pages = {path.relative_to(site.path / "docs") for path in files} - {Path("index.rst")}
    assert all((built / page.with_suffix(".html")).exists() for page in pages)
    first = (built / "index.html").read_text()
    assert [page for page in pages if f'href="{page.with_suffix(".html")}"' not in first] == []


def test_a_link_that_leads_nowhere_is_refused(checkout):
    site = checkout()
    page = site.path / "docs" / "secrets.rst"
    page.write_text(page.read_text() + "\nSee `this <nowhere.rst>`__.\n")

    finished = site.run(sys.executable, "bootstrap.py", "docs", check=False)

    assert finished.returncode
    assert "unknown document: 'nowhere'" in finished.stdout
