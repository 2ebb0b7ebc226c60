import pytest
from packaging.requirements import Requirement
from packaging.tags import Tag
from pylonyard.config.layout import Layout
from pylonyard.packages import missing
from pylonyard.packages.index import Places
from pylonyard.packages.metadata import identified
from pylonyard.packages.missing import Missing, Shelf
from pylonyard.system import relocation
from support import make_wheel

TAGS = {Tag("py3", "none", "any"): 0}
ENVIRONMENT = {"python_version": "3.11"}


@pytest.fixture
def dist(tmp_path):
    folder = tmp_path / "cache" / "dist"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def layout(tmp_path):
    folders = (tmp_path / name for name in ("parts", "bin", "eggs", "cache"))
    return Layout(tmp_path, *folders)


def found(dist, *requirements, pins=(), built=()):
    return missing.find(requirements, Shelf(dist, TAGS), dict(pins), ENVIRONMENT, built)


@pytest.mark.parametrize(
    ("filename", "name", "version"),
    [
        ("Shop_Loader-1.0-py3-none-any.whl", "shop-loader", "1.0"),
        ("python-openid-2.2.5.zip", "python-openid", "2.2.5"),
        ("mod_wsgi-6.1.1.tar.gz", "mod-wsgi", "6.1.1"),
        ("pyxpost-1.0-2.tar.gz", "pyxpost", "1.0.post2"),
        ("pyxpost-2-1.0.zip", "pyxpost-2", "1.0"),
    ],
)
def test_file_says_what_it_is(filename, name, version):
    assert identified(filename).name == name
    assert identified(filename).version == version


@pytest.mark.parametrize("filename", ["notes.txt", "shop.whl", "shop.tar.gz", ".use.lock"])
def test_other_file_is_none(filename):
    assert identified(filename) is None


def test_nothing_is_missing_where_all_is_there(dist):
    make_wheel(dist, "Shop", requires="Loader")
    make_wheel(dist, "Loader")

    assert not found(dist, "Shop", pins={"Shop": "1.0", "Never": "1.0"})


def test_every_missing_distribution_is_named_not_the_first_alone(dist):
    make_wheel(dist, "Shop", requires="Loader")

    lacking = found(dist, "Shop", "Cart", "Till>=2", pins={"loader": "3.1"})

    assert list(lacking.surely) == ["Cart", "Till>=2", "Loader==3.1"]
    assert not lacking.perhaps


def test_possible_requirement_of_a_missing_distribution_is_named_as_such(dist):
    make_wheel(dist, "Shop", requires='Old; python_version < "3"')

    lacking = found(dist, "Shop", "Cart", pins={"Cart": "1.0", "Wheel": "2.0", "shop": "1.0"})

    assert list(lacking.surely) == ["Cart==1.0"]
    assert list(lacking.perhaps) == ["wheel==2.0"]


def test_possible_requirement_of_a_source_is_named_as_such(dist):
    (dist / "Shop-1.0.tar.gz").touch()

    lacking = found(dist, "Shop", pins={"Shop": "1.0", "Cart": "1.0"})

    assert not lacking
    assert list(lacking.perhaps) == ["cart==1.0"]


def test_version_that_is_not_pinned_is_of_no_use(dist):
    make_wheel(dist, "Shop", "1.0")

    assert list(found(dist, "Shop", pins={"Shop": "1.1"}).surely) == ["Shop==1.1"]
    assert list(found(dist, "Shop>1").surely) == ["Shop>1"]


def test_source_will_do_and_a_wheel_of_another_python_will_not(dist):
    (dist / "Shop-1.0.tar.gz").touch()
    (dist / "Cart-1.0-cp27-cp27mu-any.whl").touch()

    assert list(found(dist, "Shop", "Cart").surely) == ["Cart"]


def test_egg_will_do_where_its_wheel_is_gone(tmp_path, dist):
    info = tmp_path / "eggs" / "Shop-1.0-py3.11.egg" / "Shop-1.0.dist-info"
    info.mkdir(parents=True)

    shelf = Shelf(dist, TAGS, tmp_path / "eggs")

    assert shelf.find(Requirement("shop"), "1.0") == info.parent


def test_distribution_that_is_built_or_provided_here_is_not_missing(tmp_path, dist):
    tree = make_wheel(tmp_path, "Shop", requires="elementtree")

    assert not found(dist, "Shop", built=[tree, "elementtree"])


def test_command_looks_where_the_buildout_does(layout):
    places = Places(("http://one.invalid/", "wheels"), "http://index.invalid/simple")
    lock = layout.directory / "profiles" / "pylock.toml"

    words = missing.options(layout, places, lock)
    line = Missing({"a b.whl": None}).message(layout, words)

    assert line == (
        f"not in the cache {layout.dist}: a b.whl; fetch what is missing where there is a network "
        f"with: python3 {relocation.OURS} fetch --index http://index.invalid/simple --find-links "
        "http://one.invalid/ --find-links wheels --lock profiles/pylock.toml 'a b.whl'"
    )


def test_without_a_checkout_the_command_is_that_of_the_sandbox(layout, monkeypatch):
    monkeypatch.setattr(relocation, "OURS", layout.directory / "bootstrap.py")
    found = Missing({"a.whl": None})

    assert found.advice(layout, []) == (
        "run this where there is a network, and without -o, to fetch what is missing"
    )

    layout.bin.mkdir()
    (layout.bin / "pylonyard").touch()
    assert found.advice(layout, []).endswith("with: bin/pylonyard fetch a.whl")


def test_findings_are_joined_each_named_once():
    both = Missing({"a": None}, {"b": None, "c": None}) | Missing({"b": None})

    assert (list(both.surely), list(both.perhaps)) == (["a", "b"], ["c"])


@pytest.mark.parametrize(
    ("pin", "asked", "accepted"),
    [("1.0", "==1.0", "1.0"), (">=1.0", ">=1.0", "2.0"), ("~=1.0", "~=1.0", "1.4")],
)
def test_pin_may_be_a_range_as_zc_buildout_s_own_is(pin, asked, accepted):
    assert missing.specifier(pin) == asked
    assert missing.is_pinned(accepted, pin)
    assert not missing.is_pinned("0.9", pin)
