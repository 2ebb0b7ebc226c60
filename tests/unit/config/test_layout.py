from pathlib import Path

import pytest
from pylonyard.config.layout import Layout

BASE = {
    "directory": "/srv/shop",
    "parts-directory": "/srv/shop/parts",
    "bin-directory": "/srv/shop/bin",
    "eggs-directory": "/srv/eggs/v5",
}


def test_everything_stands_in_the_sandbox():
    layout = Layout.of({"buildout": BASE})

    assert layout.cache == Path("/srv/shop/cache")
    assert (layout.releases, layout.current, layout.var) == (
        Path("/srv/shop/releases"),
        Path("/srv/shop/current"),
        Path("/srv/shop/var"),
    )
    assert (layout.parts, layout.bin, layout.eggs) == (
        Path("/srv/shop/parts"),
        Path("/srv/shop/bin"),
        Path("/srv/eggs/v5"),
    )
    assert layout.offline is False


@pytest.mark.parametrize(
    ("download_cache", "cache"),
    [("", "/srv/shop/cache"), ("store", "/srv/shop/store"), ("/var/cache", "/var/cache")],
)
def test_cache_may_be_shared(download_cache, cache):
    layout = Layout.of({"buildout": {**BASE, "download-cache": download_cache, "offline": "true"}})

    assert layout.cache == Path(cache)
    assert (layout.dist, layout.sandboxes, layout.projects) == (
        Path(cache, "dist"),
        Path(cache, "sandboxes"),
        Path(cache, "projects"),
    )
    assert layout.offline is True
