from dataclasses import replace

import pytest
from packaging.specifiers import SpecifierSet
from packaging.tags import Tag
from pylonyard.packages.lock.fit import Fit, requested
from pylonyard.packages.lock.pylock import Lock, Locked
from pylonyard.packages.metadata import described
from pylonyard.packages.missing import Unknown
from support import make_wheel

ENVIRONMENT = {"python_version": "3.11", "python_full_version": "3.11.2"}
TAGS = {Tag("py3", "none", "any"): 0}


@pytest.fixture
def wheels(tmp_path):
    """Have Shop need Cart, and Cart with an extra; return the folder of their wheels."""
    make_wheel(tmp_path, requires="Cart[gold] >= 1.0")
    make_wheel(tmp_path, "Cart", requires="Till; extra == 'gold'")
    make_wheel(tmp_path, "Till")
    return tmp_path


def locked(name, version="1.0", file="{}-{}-py3-none-any.whl"):
    held = file.format(name.title(), version)
    wheels = {held: "0"} if held.endswith(".whl") else {}
    return Locked(
        name=name,
        version=version,
        wheels=wheels,
        sdist=None if wheels else (held, "0"),
        requires_python=SpecifierSet(),
    )


ALL = (locked("shop"), locked("cart"), locked("till"))


def fitted(wheels, *packages, pins=(), local=(), wanted=("Shop",), required=None):
    def known(package, file):
        place = wheels / file
        return described(place) if place.suffix == ".whl" and place.exists() else None

    lock = Lock(wheels / "pylock.toml", packages)
    fit = Fit(lock, ENVIRONMENT, TAGS, dict(pins), dict.fromkeys(local, Unknown()), known)
    fit = replace(fit, required=required.get) if required else fit
    fit.check(wanted)
    return fit


def problems(wheels, *packages, **more):
    return list(fitted(wheels, *packages, **more).problems)


def test_lock_fits_that_has_all_that_is_needed(wheels):
    assert problems(wheels, *ALL) == []
    assert problems(wheels, *ALL, pins={"cart": "1.0", "other": "3"}) == []
    assert problems(wheels, ALL[0], locked("cart", file="{}-{}.tar.gz")) == []


@pytest.mark.parametrize(
    ("packages", "more", "message"),
    [
        (ALL[1:], {}, ["expected Shop, got none"]),
        (ALL[:2], {}, ['expected Till; extra == "gold", got none']),
        (ALL[::2], {}, ["expected Cart[gold]>=1.0, got none"]),
        ((ALL[0], locked("cart", "0.9")), {}, ["expected Cart[gold]>=1.0, got 0.9"]),
        (ALL, {"wanted": ["Shop == 2"]}, ["expected Shop==2, got 1.0"]),
        (
            ALL,
            {"pins": {"cart": "1.1", "till": "1.2"}},
            [
                "expected cart 1.1, as versions has it, got 1.0",
            ],
        ),
        (
            (locked("shop", file="{}-{}-cp27-cp27mu-linux.whl"),),
            {},
            ["expected a file of shop 1.0 for its Python"],
        ),
        ((), {"wanted": ["Shop", "Till"]}, ["expected Shop, got none", "expected Till, got none"]),
    ],
)
def test_all_that_a_lock_lacks_is_told(wheels, packages, more, message):
    assert problems(wheels, *packages, **more) == message


def test_extra_is_the_same_in_each_spelling(tmp_path):
    make_wheel(tmp_path, "Cart", requires="Till; extra == 'pg_driver'")

    assert problems(tmp_path, locked("cart"), wanted=["cart[PG-driver]"]) == [
        'expected Till; extra == "pg-driver", got none'
    ]


def test_what_the_build_of_a_locked_source_requires_is_looked_for_in_the_lock(wheels):
    source = locked("cart", file="{}-{}.tar.gz")
    required = {"Cart-1.0.tar.gz": ["till>=1", "hatchling", "shop>=2"]}

    found = fitted(wheels, *ALL[::2], source, required=required)

    assert found.builds == {"Cart-1.0.tar.gz": ["hatchling", "shop>=2"]}
    assert not found.problems


def test_what_comes_from_a_tree_is_in_no_lock(wheels):
    assert problems(wheels, local=["shop"]) == []


def test_trees_and_what_is_provided_are_given(tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "pyproject.toml").write_text('[project]\nname = "My.Shop"\n')
    options = {"sources": "tree", "develop": "", "provided": "elementtree = 1.3\n"}

    assert requested(tmp_path, options) == ["my-shop", "elementtree"]
