"""Distributions that are source trees as they stand."""

import pytest
from pylonyard.packages.metadata import distributions, is_tree


@pytest.mark.parametrize(
    ("place", "info", "expected"),
    [
        ("src/shop/Shop.egg-info", "PKG-INFO", True),
        ("eggs/Shop-1.egg/Shop.egg-info", "PKG-INFO", False),
        ("eggs/Shop-1.egg/Shop-1.dist-info", "METADATA", False),
        ("env/site-packages/Shop.egg-info", "PKG-INFO", False),
        ("elsewhere/Shop-1.dist-info", "METADATA", False),
    ],
)
def test_what_develop_of_buildout_leads_to_is_a_tree(tmp_path, place, info, expected):
    folder = tmp_path / place
    folder.mkdir(parents=True)
    (folder / info).write_text("Metadata-Version: 2.1\nName: Shop\nVersion: 1\n")

    (found,) = distributions([str(folder.parent)]).values()

    assert is_tree(found, tmp_path / "env") is expected
