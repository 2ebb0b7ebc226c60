import bare_machine
import pages
import pytest

MARKDOWN = """\
# A page

Text, and

```sh
first
```

## Below

`src/x.py`, its code,
on two lines:

```python
x = 1
```

`src/x.ini`, its template:

```ini
[x]

[y]
```

### Deeper

Copied into your `buildout.cfg`, as (Debian: `a`, `b-c` and
`d`) says. Debian: `a`

```sh
second  # `not` a file
```
"""

RESTRUCTURED = """\
A page
======

``a/b.cfg``:

.. code-block:: ini

    [a]
      b = 1

    [c]

Below
-----

.. code-block:: console

    $ ls
    a
    # rm a

Beside
------

.. code-block:: sh

    third
"""


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(MARKDOWN)
    return path


def test_blocks_are_found_with_their_headings_and_files(page):
    assert [(b.headings, b.kind, b.file, b.text) for b in pages.blocks(page)] == [
        (("A page",), "sh", "", "first\n"),
        (("A page", "Below"), "python", "", "x = 1\n"),
        (("A page", "Below"), "ini", "src/x.ini", "[x]\n\n[y]\n"),
        (("A page", "Below", "Deeper"), "sh", "", "second  # `not` a file\n"),
    ]


def test_blocks_below_a_heading_are_those_of_its_own_and_deeper_ones(page):
    assert [block.kind for block in pages.blocks(page, "Below")] == ["python", "ini", "sh"]
    with pytest.raises(ValueError, match="below a heading 'Gone', got none"):
        pages.blocks(page, "Gone")


def test_packages_are_those_that_a_section_names(page):
    assert pages.packages(page, "Below") == ["a", "b-c", "d"]
    with pytest.raises(ValueError, match="expected a heading 'Gone', got none"):
        pages.packages(page, "Gone")


def test_restructured_text_is_read_too(tmp_path):
    path = tmp_path / "page.rst"
    path.write_text(RESTRUCTURED)

    assert [(b.headings, b.file, b.lines) for b in pages.blocks(path)] == [
        (("A page",), "a/b.cfg", "[a]\n  b = 1\n\n[c]\n"),
        (("A page", "Below"), "", "ls\nrm a\n"),
        (("A page", "Beside"), "", "third\n"),
    ]


def test_readme_has_what_is_typed_on_a_bare_machine():
    first, second = (block.lines for block in pages.blocks(bare_machine.README, "In this checkout"))

    assert (first, second) == ("python3 bootstrap.py\n", "python3 bootstrap.py test\n")
    assert set(pages.packages(bare_machine.README, "In this checkout")) == {
        *bare_machine.bare_debian.PACKAGES
    }
    assert len(list(bare_machine.applications())) >= 1
    for steps in bare_machine.applications():
        assert {"buildout.cfg"} < {block.file for block in steps}
        assert "curl http://127.0.0.1:8080/\n" in "".join(block.lines for block in steps)
