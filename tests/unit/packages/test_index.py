import socket

import package_index
import pytest
from pylonyard.packages.index import Offer, Places, digests, find
from pylonyard.system.errors import CommandError
from support import serve_folder

DIGEST = "a" * 64
PAGE = f"""\
<html><body>
<a href="../../files/Shop-1.0.tar.gz#sha256={DIGEST}">Shop-1.0.tar.gz</a>
<a href="shop-1.0-py3-none-any.whl#md5=0">a wheel</a>
<a name="top">no link</a>
</body></html>
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The address of an index that has Shop, and a file to download."""
    folder = tmp_path_factory.mktemp("index")
    (folder / "simple" / "shop").mkdir(parents=True)
    (folder / "simple" / "shop" / "index.html").write_text(PAGE)
    (folder / "files").mkdir()
    (folder / "files" / "Shop-1.0.tar.gz").write_bytes(b"source")
    with serve_folder(folder) as address:
        yield address


def test_index_offers_the_links_of_the_project_s_page(site):
    offers = list(Places(index=f"{site}/simple").offers("shop"))

    assert offers == [
        Offer(f"{site}/files/Shop-1.0.tar.gz", DIGEST),
        Offer(f"{site}/simple/shop/shop-1.0-py3-none-any.whl"),
    ]
    assert [offer.name for offer in offers] == ["Shop-1.0.tar.gz", "shop-1.0-py3-none-any.whl"]
    assert digests(offers) == {"Shop-1.0.tar.gz": DIGEST}


def test_links_come_before_the_index(site, tmp_path):
    (tmp_path / "Shop-1.0.tar.gz").touch()

    places = Places((str(tmp_path),), f"{site}/simple")

    assert find(places, "shop", "Shop-1.0.tar.gz") == Offer(str(tmp_path / "Shop-1.0.tar.gz"))
    assert find(places, "shop", "Shop-2.0.tar.gz") is None


def test_folder_with_a_page_offers_what_the_page_links_to(tmp_path):
    (tmp_path / "index.html").write_text(PAGE)
    (tmp_path / "other-1.0.tar.gz").touch()

    places = Places((f"file://{tmp_path}",), (tmp_path / "none").as_uri())

    assert [offer.name for offer in places.offers("shop")] == [
        "Shop-1.0.tar.gz",
        "shop-1.0-py3-none-any.whl",
    ]


def test_project_that_an_index_lacks_has_no_offers(site):
    assert list(Places(index=f"{site}/simple").offers("bicycle")) == []


@pytest.mark.parametrize("text", ["no JSON", "[]", '{"files": [{"hashes": {}}]}'])
def test_answer_that_is_no_list_of_files_is_one_line(tmp_path, text):
    with package_index.serve(tmp_path / "files", {"shop 1.0": []}) as index:
        index.answer = lambda *words: ("application/vnd.pypi.simple.v1+json", text.encode())
        with pytest.raises(CommandError, match=r"cannot read .*/shop/: it is no list of files"):
            list(Places(index=index.url).offers("shop"))


def test_host_that_is_not_allowed_is_not_asked(site):
    # zc.buildout keeps a client for each address, and a port may have had another index: nobody
    # else spells it so.
    places = Places(index=f"{site}/./simple/", hosts=("*.example",))

    assert list(places.offers("shop")) == []


def test_index_that_cannot_be_reached_is_one_line():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        index = f"http://127.0.0.1:{closed.getsockname()[1]}/simple"
        with pytest.raises(CommandError) as caught:
            list(Places(index=index).offers("shop"))

    assert str(caught.value).startswith(f"cannot read {index}/shop/: ")
    assert "Connection refused" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_offer_is_downloaded_from_an_index_and_from_a_folder(site, tmp_path):
    local = tmp_path / "local" / "Shop-2.0.tar.gz"
    local.parent.mkdir()
    local.write_bytes(b"local")

    fetched = Places().download(Offer(f"{site}/files/Shop-1.0.tar.gz"), tmp_path)
    copied = Places().download(Offer(str(local)), tmp_path)

    assert (fetched, fetched.read_bytes()) == (tmp_path / "Shop-1.0.tar.gz", b"source")
    assert (copied, copied.read_bytes()) == (tmp_path / "Shop-2.0.tar.gz", b"local")


@pytest.mark.parametrize(
    ("path", "reason"),
    [("{site}/files/Shop-9.0.tar.gz", "404"), ("/nowhere/Shop-9.0.tar.gz", "No such file")],
)
def test_offer_that_cannot_be_had_is_one_line(site, tmp_path, path, reason):
    with pytest.raises(CommandError) as caught:
        Places().download(Offer(path.format(site=site)), tmp_path)

    assert str(caught.value).startswith("cannot get Shop-9.0.tar.gz: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_section_looks_where_it_says_or_where_the_buildout_does():
    base = {"find-links": "wheels\nhttp://a.example", "index": "http://i.example"}

    assert Places.of({"buildout": {}}) == Places()
    assert Places.of({"buildout": base}) == Places(
        ("wheels", "http://a.example"), "http://i.example"
    )
    assert Places.of({"buildout": {**base, "allow-hosts": "a b"}}, ["own"], "other") == Places(
        ("own",), "other", ("a", "b")
    )
