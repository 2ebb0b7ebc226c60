import json
from pathlib import Path

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
    modern, old = (
        {"python_version": series, "python_full_version": f"{series}.1"}
        for series in ("3.11", "2.7")
    )

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


HERE = Path(__file__).parent


@pytest.mark.parametrize("maker", ["uv", "pip"])
def test_lock_of_another_program_is_read(maker):
    lock = pylock.read(HERE / f"pylock.{maker}.toml")

    lock.expect_for(metadata.environment())
    named = {package.name: package for package in lock.packages_for(metadata.environment())}
    assert lock.maker == maker
    assert "six" not in named
    assert named["waitress"].wheels == {
        "waitress-3.0.2-py3-none-any.whl": (
            "c56d67fd6e87c2ee598b76abdd4e96cfad1f24cacdea5078d382b1f9d7b5ed2e"
        )
    }
    assert named["waitress"].places["waitress-3.0.2-py3-none-any.whl"].startswith("https://")
    assert "Paste-3.10.1-py3-none-any.whl" in named["paste"].wheels
    assert named["quill"].unverifiable == "the folder . has no SHA-256"
    text = lock.path.read_text().splitlines()
    assert text[named["quill"].line : named["quill"].line + 1] == ['name = "quill"']


ENTRIES = """
lock-version = "1.0"
created-by = "hand"
environments = ["python_version >= '3.12'", "sys_platform == 'linux'"]
requires-python = ">=3.10"
extras = ["fast"]
dependency-groups = ["dev"]

[[packages]]
name = "six"
version = "1.17.0"
vcs = {type = "git", url = "https://git.example.org/six", commit-id = "abc"}

[[packages]]
name = "old"
version = "1.0"
wheels = [
    {path = "old-1.0-py3-none-any.whl", hashes = {md5 = "1", sha512 = "2"}},
]

[[packages]]
name = "tree"
archive = {url = "https://example.org/tree-2.0.tar.gz", hashes = {md5 = "1", sha256 = "4"}}

[[packages]]
name = "built"
archive = {path = "files/built-3.0-py3-none-any.whl", hashes = {sha256 = "5"}}

[[packages]]
name = "snapshot"
archive = {url = "https://example.org/main.zip", hashes = {sha256 = "6"}}

[[packages]]
name = "extra"
version = "1.0"
marker = "'fast' in extras or 'dev' in dependency_groups"
sdist = {path = "extra-1.0.tar.gz", upload-time = 2024-11-16T20:02:35Z, hashes = {sha256 = "7"}}

[[packages]]
name = "late"
version = "1.0"
requires-python = ">=3.99"
sdist = {name = "late-1.0.tar.gz", url = "https://example.org/1", hashes = {sha256 = "8"}}
"""


def test_what_cannot_be_verified_is_told_and_the_rest_is_read(tmp_path):
    (tmp_path / "pylock.toml").write_text(ENTRIES)

    lock = pylock.read(tmp_path / "pylock.toml")

    found = {package.name: package for package in lock.packages}
    assert {name: (p.line, p.unverifiable) for name, p in found.items() if p.unverifiable} == {
        "six": (9, "a checkout of https://git.example.org/six has no SHA-256"),
        "old": (14, "its files have md5, sha512, and no sha256"),
        "snapshot": (29, "the name of its archive tells no version"),
    }
    assert (found["tree"].version, found["tree"].sdist) == ("2.0", ("tree-2.0.tar.gz", "4"))
    assert found["built"].wheels == {"built-3.0-py3-none-any.whl": "5"}
    assert found["built"].places == {
        "built-3.0-py3-none-any.whl": str(tmp_path / "files/built-3.0-py3-none-any.whl")
    }
    here = {package.name for package in lock.packages_for(metadata.environment())}
    assert found.keys() - here == {"late"}
    assert found["late"].sdist == ("late-1.0.tar.gz", "8")


@pytest.mark.parametrize(
    ("python", "platform", "message"),
    [
        ("3.9.1", "linux", "expected Python >=3.10, as {} says, got 3.9.1"),
        (
            "3.11.2",
            "win32",
            'expected an environment of {} (python_version >= "3.12" or sys_platform == "linux"), '
            "got Python 3.11.2",
        ),
    ],
)
def test_lock_for_others_is_refused(tmp_path, python, platform, message):
    path = tmp_path / "pylock.toml"
    path.write_text(ENTRIES)
    environment = {**metadata.environment(), "python_full_version": python}
    environment |= {"python_version": python.rpartition(".")[0], "sys_platform": platform}

    with pytest.raises(pylock.LockError) as caught:
        pylock.read(path).expect_for(environment)

    assert str(caught.value) == message.format(path)


@pytest.fixture
def unpacked_by_stock(installed):
    """The egg, with the metadata where a stock zc.buildout has it; nobody has verified it."""
    wheel, egg, verified = installed
    (info,) = egg.glob("*.dist-info")
    info = info.rename(egg / f"{egg.stem}.dist-info")
    for name in ("INSTALLER", "RECORD", "REQUESTED"):
        (info / name).write_text("pip's own")
    return wheel, egg, integrity.Verified(verified.cache.with_name("another cache"))


def test_egg_of_a_stock_buildout_is_compared_by_content(unpacked_by_stock):
    wheel, egg, verified = unpacked_by_stock

    assert verified.install(wheel, egg.parent, {wheels.sha256(wheel)}) == egg
    assert verified.unchanged(egg, {wheels.sha256(wheel)})


@pytest.mark.parametrize("name", ["shop.py", "evil.py", "@INFO@/METADATA", "@INFO@/evil"])
def test_egg_of_a_stock_buildout_that_differs_stays_where_others_use_it(unpacked_by_stock, name):
    wheel, egg, verified = unpacked_by_stock
    path = egg / name.replace("@INFO@", f"{egg.stem}.dist-info")
    path.write_text("evil")

    with pytest.raises(
        integrity.RefusedError, match="it stays, since we may not move it"
    ) as caught:
        verified.install(wheel, egg.parent, {wheels.sha256(wheel)})

    assert caught.value.path == path
    assert path.read_text() == "evil"
