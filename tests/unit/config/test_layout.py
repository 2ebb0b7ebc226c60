from pathlib import Path

import pytest
from pylonyard.config import layout as layouts
from pylonyard.config.layout import REAL_SERVER, Layout, page

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
    assert (layout.dist, layout.environments, layout.projects) == (
        Path(cache, "dist"),
        Path(cache, "sandboxes"),
        Path(cache, "projects"),
    )
    assert layout.offline is True


def test_a_page_is_named_by_its_path_in_the_checkout(monkeypatch, tmp_path):
    checkout = Path(layouts.__file__).parents[3]
    monkeypatch.chdir(checkout)
    for title, name in {REAL_SERVER: "on-a-real-server", "Secrets": "secrets"}.items():
        assert (checkout / page(title)).read_text().startswith(f"{title}\n===")
        assert page(title) == f"docs/{name}.rst"
    monkeypatch.chdir(checkout.parent)
    assert page("Secrets") == f"{checkout.name}/docs/secrets.rst"
    monkeypatch.chdir(tmp_path)
    assert page("Secrets") == f"{checkout}/docs/secrets.rst"


def test_a_page_is_named_by_title_and_address_where_there_is_no_checkout(monkeypatch, tmp_path):
    monkeypatch.setattr(layouts, "__file__", str(tmp_path / "site-packages/pylonyard/config/x.py"))
    info = tmp_path / "pylonyard-1.0.dist-info"
    monkeypatch.syspath_prepend(tmp_path)
    info.mkdir()
    urls = "Changes, https://a.org/x", "Documentation, https://a.org/docs/index.rst"
    (info / "METADATA").write_text("".join(f"Project-URL: {url}\n" for url in urls))

    output = '"On a real server" in Pylonyard\'s documentation'
    assert page(REAL_SERVER) == f"{output}, https://a.org/docs/on-a-real-server.rst"
    (info / "METADATA").write_text("Name: pylonyard\n")
    assert page(REAL_SERVER) == output
