import json

import pytest
from packaging.requirements import Requirement
from packaging.tags import Tag
from pylonyard.packages import integrity, metadata, wheels
from pylonyard.packages.lock import pylock
from support import CHECKOUT, make_wheel

DIGEST = "a" * 64
SHOP = pylock.Locked(
    name="shop",
    version="1.0",
    wheels={"Shop-1.0-py3-none-any.whl": DIGEST, "Shop-1.0-cp311-cp311-any.whl": "b" * 64},
    sdist=("shop-1.0.tar.gz", "c" * 64),
    marker="python_version >= '3.10'",
    used={"file": "Shop-1.0-py3-none-any.whl", "interpreter": "cp311", "platform": "linux-x86_64"},
)


def written(tmp_path, *packages):
    path = tmp_path / "pylock.toml"
    path.write_text(pylock.text(packages, "../cache/dist"))
    return path


def test_lock_is_read_as_it_was_written(tmp_path):
    path = written(tmp_path, SHOP)

    assert pylock.read(path) == pylock.Lock(path, (SHOP,))
    assert 'path = "../cache/dist/Shop-1.0-py3-none-any.whl"' in path.read_text()


def test_lock_of_the_checkout_is_written_again_byte_for_byte():
    for path in sorted((CHECKOUT / "profiles").glob("pylock*.toml")):
        lock = pylock.read(path)

        assert pylock.text(lock.packages, "../cache/dist") == path.read_text(), path


@pytest.mark.parametrize(
    "text", ["a = " + "[" * 200_000, "", "lock-version = 1", "[[packages]", 'lock-version = "2.0"']
)
def test_file_that_is_no_lock_is_reported(tmp_path, text):
    path = tmp_path / "pylock.toml"
    path.write_text(text)

    with pytest.raises(pylock.LockError) as caught:
        pylock.read(path)

    assert str(caught.value).startswith(f"expected a lock as of PEP 751, got {path}: ")


def test_best_wheel_is_that_of_the_first_tag():
    tags = {Tag("cp311", "cp311", "any"): 0, Tag("py3", "none", "any"): 1}

    assert SHOP.wheel_for(tags) == "Shop-1.0-cp311-cp311-any.whl"
    assert SHOP.wheel_for({Tag("py3", "none", "any"): 1}) == "Shop-1.0-py3-none-any.whl"
    assert SHOP.wheel_for({}) is None


def test_version_that_is_wanted_is_preferred(tmp_path):
    other = pylock.Locked(name="shop", version="2.0", wheels={})
    lock = pylock.Lock(tmp_path, (SHOP, other))
    modern, old = {"python_version": "3.11"}, {"python_version": "2.7"}

    assert lock.find("shop", modern, Requirement("shop")) == SHOP
    assert lock.find("shop", modern, Requirement("shop>1")) == other
    assert lock.find("shop", old, Requirement("shop")) == other
    assert lock.find("blog", modern, Requirement("blog")) is None


def test_file_of_a_locked_distribution_has_to_be_locked(tmp_path):
    lock = pylock.Lock(tmp_path, (SHOP,))

    assert lock.digests("Shop-1.0-py3-none-any.whl") == {DIGEST}
    assert lock.digests("shop-1.1-py3-none-any.whl") == set()
    assert lock.digests("Blog-1.0-py3-none-any.whl") is None


def test_requirements_are_followed_through_metadata(tmp_path):
    places = {
        "shop": make_wheel(tmp_path, "Shop", requires='Loader[fast]; python_version > "3"'),
        "loader": make_wheel(tmp_path, "Loader", requires='Speed (==dev); extra == "fast"'),
        "speed": make_wheel(tmp_path, "Speed", requires='Never; python_version < "3"'),
    }
    asked = []

    def get(wanted):
        asked.append(wanted.name)
        return metadata.described(places[wanted.name.lower()])

    metadata.follow([Requirement("Shop")], get, {"python_version": "3.11"})

    assert asked == ["Shop", "Loader", "Speed"]


@pytest.fixture
def installed(tmp_path):
    """An egg, noted as verified: its wheel, the egg, and who verified it."""
    wheel = make_wheel(tmp_path)
    verified = integrity.Verified(tmp_path / "cache")
    return wheel, verified.install(wheel, tmp_path / "eggs", {wheels.sha256(wheel)}), verified


def test_egg_that_nobody_touched_is_known_without_its_wheel(installed):
    wheel, egg, verified = installed
    digests = {wheels.sha256(wheel)}
    wheel.unlink()

    assert verified.unchanged(egg, digests)
    assert integrity.Verified(verified.cache).install(wheel, egg.parent, digests) == egg


def test_changed_egg_is_put_into_quarantine_and_a_good_one_in_its_place(installed):
    wheel, egg, verified = installed
    good = (egg / "shop.py").read_text()
    (egg / "shop.py").write_text("evil")

    with pytest.raises(integrity.RefusedError) as caught:
        verified.install(wheel, egg.parent, {wheels.sha256(wheel)})

    assert str(caught.value) == (
        f"{egg}/shop.py: expected what {wheel.name} holds, got other content; "
        f"moved to {caught.value.aside}"
    )
    assert (caught.value.aside / "shop.py").read_text() == "evil"
    assert (egg / "shop.py").read_text() == good
    assert verified.unchanged(egg, {wheels.sha256(wheel)})


def test_bytecode_that_python_is_about_to_write_is_no_tampering(installed):
    wheel, egg, verified = installed
    (egg / "__pycache__" / "shop.cpython-311.pyc.140234567890").write_bytes(b"half")

    assert verified.install(wheel, egg.parent, {wheels.sha256(wheel)}) == egg


@pytest.mark.parametrize("name", ["evil.cpython-311.pyc.1", "shop.cpython-311.pyc.so", "shop.so"])
def test_no_other_file_passes_for_bytecode(installed, name):
    wheel, egg, verified = installed
    (egg / "__pycache__" / name).write_bytes(b"evil")

    with pytest.raises(integrity.RefusedError, match="expected a file of"):
        verified.install(wheel, egg.parent, {wheels.sha256(wheel)})


def test_signatures_that_others_may_write_do_not_count(installed):
    wheel, egg, verified = installed
    (listed,) = (verified.cache / "verified").iterdir()
    assert json.loads(listed.read_text())
    listed.chmod(0o666)

    assert not integrity.Verified(verified.cache).unchanged(egg, {wheels.sha256(wheel)})
