import urllib.request

import pytest
from indexes import guarded_index
from pylonyard.packages import credentials, downloads
from pylonyard.packages.credentials import Credentials, Handler
from pylonyard.packages.index import Places
from pylonyard.system.errors import CommandError
from support import make_wheel, serve_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the page of a project, and its file in another folder."""
    folder = tmp_path_factory.mktemp("index")
    (folder / "simple" / "shop").mkdir(parents=True)
    (folder / "files").mkdir()
    wheel = make_wheel(folder / "files")
    page = f'<a href="../../files/{wheel.name}">{wheel.name}</a>'
    (folder / "simple" / "shop" / "index.html").write_text(page)
    return folder


@pytest.fixture
def index(folder):
    with guarded_index(folder) as index:
        yield index


@pytest.fixture(autouse=True)
def known(monkeypatch, tmp_path):
    """Forget all credentials after a test, and have a home without any."""
    monkeypatch.setattr(credentials.KNOWN, "given", {})
    monkeypatch.setattr(credentials.KNOWN, "answered", {})
    monkeypatch.setattr(urllib.request, "_opener", downloads.opener())
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    return credentials.KNOWN


def names(places):
    return [offer.name for offer in places.offers("shop")]


@pytest.mark.parametrize(
    ("text", "shown", "user", "password"),
    [
        ("http://ci:S3cr3t@h/simple/", "http://h/simple/", "ci", "S3cr3t"),
        ("https://ci:a%40b%3Ac@h:8/", "https://h:8/", "ci", "a@b:c"),
        ("https://ci:p@ss@h/", "https://h/", "ci", "p@ss"),
        ("https://token@h/", "https://h/", "token", None),
        ("https://ci:@h/", "https://h/", "ci", ""),
    ],
)
def test_address_loses_its_credentials_and_they_are_kept(text, shown, user, password):
    known = Credentials()

    assert known.take(text) == shown
    assert (known.given[shown].user, known.given[shown].password) == (user, password)


@pytest.mark.parametrize(
    "text", ["a@b.example", "http://h/a@b", "http://${ci:name}:${ci:word}@h/", "ssh://git@h/x"]
)
def test_other_text_stays_as_it_is(text):
    known = Credentials()

    assert known.take(text) == text
    assert known.given == {}


def test_every_address_of_a_text_loses_its_own():
    text = "http://a:1@h/x\nhttp://b:2@i/y c"

    assert Credentials().take(text) == "http://h/x\nhttp://i/y c"


def test_longest_address_decides_and_then_any_of_the_host():
    known = Credentials()
    known.take("http://a:1@h/ http://b:2@h/private/ http://c:3@h:81/")

    assert known.find("http://h/private/x").user == "b"
    assert known.find("http://h/files/x").user == "a"
    assert known.find("http://h:80/x").user == "b"
    assert known.find("http://h:81/x").user == "c"
    assert known.find("https://h/x") is None


def test_index_and_its_files_are_read_with_the_password_of_the_address(index, tmp_path):
    places = Places(index=index.with_login("ci:S3cr3t"))
    (offer,) = places.offers("shop")

    assert places.index == f"{index.address}/simple/"
    assert "S3cr3t" not in repr((places, offer))
    assert places.download(offer, tmp_path).read_bytes()[:2] == b"PK"
    assert {login for _, login in index.asked} == {"ci:S3cr3t"}


def test_password_is_sent_to_no_host_to_which_an_index_redirects(index, folder, known):
    with guarded_index(folder) as other:
        known.take(index.with_login("ci:S3cr3t"))
        with pytest.raises(CommandError, match="401"):
            urllib.request.urlopen(f"{index.address}/moved/{other.address}/simple/shop/")

    assert [login for _, login in other.asked] == [""]


def write_netrc(tmp_path, host, mode=0o600, login="ci", word="S3cr3t"):
    file = tmp_path / ".netrc"
    file.write_text(f"machine {host} login {login} password {word}\n")
    file.chmod(mode)


@pytest.mark.parametrize("user", ["", "ci@"])
def test_password_of_netrc_is_used(index, tmp_path, user):
    write_netrc(tmp_path, "127.0.0.1")

    assert names(Places(index=f"http://{user}{index.host}/simple/")) == [
        "Shop-1.0-py3-none-any.whl"
    ]
    assert [login for _, login in index.asked] == ["ci:S3cr3t"]


def test_password_of_netrc_for_all_others_is_sent_where_one_is_asked_for(index, folder, tmp_path):
    (tmp_path / ".netrc").write_text("default login ci password S3cr3t\n")
    (tmp_path / ".netrc").chmod(0o600)

    assert names(Places(index=f"{index.address}/simple/")) == ["Shop-1.0-py3-none-any.whl"]
    assert [login for _, login in index.asked] == ["", "ci:S3cr3t"]


KEYRING = """#!/bin/sh
echo "$@" >> {log}
test "$2 $3" = "{host} ci" && echo S3cr3t
"""


def test_password_of_keyring_is_used_for_a_user_in_the_address(index, tmp_path):
    program = tmp_path / "keyring"
    program.write_text(KEYRING.format(log=tmp_path / "log", host=index.host))
    program.chmod(0o755)
    places = Places(index=index.with_login("ci"))

    assert names(places) == names(places) == ["Shop-1.0-py3-none-any.whl"]
    # It is asked once: for the address, then for the host.
    assert len((tmp_path / "log").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("login", "netrc", "message"),
    [
        (
            "ci:wr0ng@",
            None,
            "it refuses the password of ci from the configuration; correct that",
        ),
        (
            "",
            "S0 not",
            "it refuses the password of ci from ~/.netrc; correct that",
        ),
        (
            "",
            None,
            "it asks for a password, and there is no ~/.netrc; write there, with mode 0600: "
            "machine 127.0.0.1 login NAME password PASSWORD",
        ),
    ],
)
def test_refusal_is_told_without_the_password(index, tmp_path, login, netrc, message):
    if netrc:
        write_netrc(tmp_path, "127.0.0.1", word=netrc.split()[0])
    with pytest.raises(CommandError) as caught:
        names(Places(index=f"http://{login}{index.host}/simple/"))

    assert str(caught.value) == (
        f"cannot read {index.address}/simple/shop/: 401 Unauthorized, {message}"
    )


def test_netrc_that_others_can_read_is_not_used_and_that_is_told(index, tmp_path):
    write_netrc(tmp_path, "127.0.0.1", 0o644)
    with pytest.raises(CommandError, match=r"and ~/\.netrc is not used \(.*permissive"):
        names(Places(index=f"{index.address}/simple/"))


def test_other_answers_than_that_there_is_no_such_page_are_told(folder, known):
    class Broken(Handler):
        def http_request(self, req):
            raise OSError("500 broken")

    with serve_folder(folder) as address:
        urllib.request.install_opener(urllib.request.build_opener(Broken(known)))
        with pytest.raises(CommandError, match="500 broken"):
            names(Places(index=f"{address}/simple/"))


def test_program_gets_an_address_with_its_login(known):
    known.take("https://ci:a%40b@h/simple/")

    assert known.with_login("https://h/simple/") == "https://ci:a%40b@h/simple/"
    assert known.with_login("https://other/") == "https://other/"


def test_pip_is_told_the_places_on_its_command_line():
    places = Places(("wheels", "http://h/"), "http://i/")

    assert places.pip_options() == [
        *("--find-links", "wheels", "--find-links", "http://h/"),
        *("--index-url", "http://i/"),
    ]
    assert places.pip_variables() == {}


def test_pip_is_told_places_with_a_password_where_nobody_else_can_read_it(monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", "/own")
    places = Places(("wheels", "http://ci:a%40b@h/"), "http://ci:S3cr3t@i/")

    assert places.pip_options() == ["--find-links", "wheels"]
    assert places.pip_variables() == {
        "PIP_INDEX_URL": "http://ci:S3cr3t@i/",
        "PIP_FIND_LINKS": "http://ci:a%40b@h/ /own",
    }
