import dataclasses

import pytest
from packaging.tags import Tag
from pylonyard.commands import fetch
from pylonyard.packages.index import Places
from pylonyard.packages.lock import pylock
from pylonyard.packages.wheels import sha256
from pylonyard.system.errors import CommandError
from support import make_wheel

TAGS = {Tag("cp311", "cp311", "linux"): 0, Tag("py3", "none", "any"): 1}


@pytest.fixture
def index(tmp_path):
    """Return the page of an index, whose links a test writes."""
    page = tmp_path / "simple" / "shop" / "index.html"
    page.parent.mkdir(parents=True)
    for name in ("Shop-1.0-py3-none-any.whl", "Shop-1.0-cp311-cp311-linux.whl"):
        made = make_wheel(page.parent)
        if made.name != name:
            made.rename(page.parent / name)
            make_wheel(page.parent)
    for name in ("Shop-0.9-py3-none-any.whl", "Shop-2.0-cp27-cp27mu-linux.whl", "Shop-1.0.tar.gz"):
        (page.parent / name).write_bytes(name.encode())
    page.write_text("".join(f'<a href="{p.name}">x</a>' for p in sorted(page.parent.iterdir())))
    return page


@pytest.fixture
def fetcher(tmp_path, index):
    places = Places(index=(tmp_path / "simple").as_uri())
    return fetch.Fetcher(tmp_path / "cache", places, {}, TAGS)


def test_named_file_is_brought(fetcher):
    assert fetcher.fetch("Shop-1.0.tar.gz").read_bytes() == b"Shop-1.0.tar.gz"
    assert fetcher.fetch("Shop-1.0.tar.gz") == fetcher.cache / "dist" / "Shop-1.0.tar.gz"


@pytest.mark.parametrize(
    ("requirement", "name"),
    [
        ("shop", "Shop-1.0-cp311-cp311-linux.whl"),
        ("shop==1.0", "Shop-1.0-cp311-cp311-linux.whl"),
        ("Shop<1", "Shop-0.9-py3-none-any.whl"),
    ],
)
def test_newest_and_best_file_that_meets_a_requirement_is_brought(fetcher, requirement, name):
    assert fetcher.fetch(requirement).name == name


WITHDRAWN = '<a href="Shop-3.0.tar.gz" data-yanked="broken on Tuesdays">x</a>'
TOO_NEW = '<a href="Shop-2.5-py3-none-any.whl" data-requires-python="&gt;=3.12">x</a>'
ODD = '<a href="Shop-0.1.tar.gz" data-requires-python="rubbish">x</a>'


def test_withdrawn_file_and_one_for_other_interpreters_are_never_chosen(fetcher, index):
    index.write_text(WITHDRAWN + TOO_NEW + ODD + index.read_text())
    (index.parent / "Shop-2.5-py3-none-any.whl").write_bytes(b"new")
    (index.parent / "Shop-0.1.tar.gz").write_bytes(b"odd")
    older = dataclasses.replace(fetcher, python="3.11.2")
    newer = dataclasses.replace(fetcher, python="3.12.0")

    assert older.fetch("shop").name == "Shop-1.0-cp311-cp311-linux.whl"
    assert newer.fetch("shop").name == "Shop-2.5-py3-none-any.whl"
    assert older.fetch("shop==0.1").name == "Shop-0.1.tar.gz"


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ("shop==3.0", "Shop-3.0.tar.gz was withdrawn (yanked): broken on Tuesdays"),
        ("shop==2.5", "Shop-2.5-py3-none-any.whl is for Python >=3.12, not 3.11.2"),
    ],
)
def test_reason_why_there_is_no_file_to_choose_is_told(fetcher, index, wanted, why):
    index.write_text(WITHDRAWN + TOO_NEW + index.read_text())

    with pytest.raises(CommandError) as caught:
        dataclasses.replace(fetcher, python="3.11.2").fetch(wanted)

    assert str(caught.value) == f"cannot get {wanted}: {why}"


def test_source_is_brought_where_no_wheel_fits(fetcher, index):
    other = fetch.Fetcher(fetcher.cache, fetcher.places, {}, {Tag("cp26", "none", "any"): 0})

    assert other.fetch("shop==1.0").name == "Shop-1.0.tar.gz"


@pytest.mark.parametrize("wanted", ["Shop-9.tar.gz", "shop==9", "other", "notes.zip"])
def test_file_that_nobody_has_is_reported(fetcher, wanted):
    with pytest.raises(CommandError) as caught:
        fetcher.fetch(wanted)

    assert str(caught.value) == f"cannot get {wanted}: neither find-links nor the index has it"


def test_other_word_is_reported(fetcher):
    with pytest.raises(CommandError, match="cannot get 'a b': expected name==version"):
        fetcher.fetch("a b")


def locked(tmp_path, digest):
    package = pylock.Locked(
        name="shop", version="1.0", wheels={}, sdist=("Shop-1.0.tar.gz", digest)
    )
    path = tmp_path / "pylock.toml"
    path.write_text(pylock.text([package], "cache/dist"))
    return ["--index", (tmp_path / "simple").as_uri(), "--lock", str(path), "Shop-1.0.tar.gz"]


@pytest.mark.system
def test_file_that_is_not_the_locked_one_never_enters_the_cache(tmp_path, index, capsys):
    with pytest.raises(SystemExit, match="expected SHA-256 0000") as caught:
        fetch.main(str(tmp_path / "cache"), locked(tmp_path, "0" * 64))

    assert str(caught.value).startswith("bootstrap: ")
    assert not (tmp_path / "cache" / "dist" / "Shop-1.0.tar.gz").exists()


@pytest.mark.system
def test_damaged_file_of_the_cache_is_put_into_quarantine_and_brought_again(
    tmp_path, index, capsys
):
    place = tmp_path / "cache" / "dist" / "Shop-1.0.tar.gz"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"damaged")
    words = locked(tmp_path, sha256(index.with_name("Shop-1.0.tar.gz")))

    assert fetch.main(str(tmp_path / "cache"), words) == 0

    assert place.read_bytes() == b"Shop-1.0.tar.gz"
    assert "moved to" in capsys.readouterr().out


@pytest.mark.system
def test_all_that_cannot_be_had_is_reported_at_once(tmp_path, index):
    words = ["--index", (tmp_path / "simple").as_uri(), "one==1", "shop==1.0", "two==2"]

    with pytest.raises(SystemExit) as caught:
        fetch.main(str(tmp_path / "cache"), words)

    output = "neither find-links nor the index has it"
    assert (
        str(caught.value) == f"bootstrap: cannot get one==1: {output}; cannot get two==2: {output}"
    )
    assert len(list((tmp_path / "cache" / "dist").iterdir())) == 1
