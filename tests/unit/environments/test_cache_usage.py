import pytest
from pylonyard.environments.cache_usage import (
    GRACE,
    Entry,
    Needs,
    is_used,
    pins_of,
    possible_names,
    unused,
)

HOME = "0123456789abcdef0123"
OTHER = "ffffffffffffffffffff"
EGG = "Paste_Deploy-3.1.0-py3.11-linux-x86_64.egg"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (f"'''exec' '/a b/cache/sandboxes/{HOME}/bin/python' \"$0\"", {HOME}),
        (f'LoadModule wsgi_module "/c/mod_wsgi/{HOME}/mod_wsgi.so"', {HOME}),
        (f"/c/projects/simple-site-{HOME}\n/c/eggs/v5/cp311/{EGG}\n", {HOME, EGG}),
        (f'"sha256": "{HOME * 3}abcd"', set()),
        (f"/c/eggs/v5/cp311/{EGG}-not", set()),
        ("", set()),
    ],
)
def test_names_of_entries_are_found_in_texts(text, names):
    assert possible_names([text]) == names


def test_eggs_tell_of_what_they_were_made():
    assert pins_of([EGG, HOME, "odd.egg"]) == {("paste-deploy", "3.1.0")}


NEEDS = Needs(frozenset({HOME, EGG}), frozenset({("paste-deploy", "3.1.0"), ("shop-2", "1.0")}))


@pytest.mark.parametrize(
    ("kind", "name", "used"),
    [
        ("sandboxes", HOME, True),
        ("sandboxes", OTHER, False),
        ("mod_wsgi", HOME, True),
        ("mod_wsgi", f"{HOME}.log", False),
        ("projects", f"simple-site-{HOME}", True),
        ("projects", f"simple-site-{OTHER}", False),
        ("configs", f"{HOME}-Shop-main.ini", True),
        ("configs", f"{OTHER}-Shop-main.ini", False),
        ("eggs", f"cp311/{EGG}", True),
        ("eggs", "cp311/Shop-1.0-py3.11-linux-x86_64.egg", False),
        ("eggs", "cp311/tmpabcdef", False),
        ("dist", "PasteDeploy-3.1.0-py3-none-any.whl", False),
        ("dist", "Paste.Deploy-3.1.0-py3-none-any.whl", True),
        ("dist", "paste_deploy-3.1.0-cp311-cp311-linux_x86_64.whl", True),
        ("dist", "paste_deploy-3.0-py3-none-any.whl", False),
        ("dist", "Paste_Deploy-3.1.0.tar.gz", True),
        ("dist", "shop-2-1.0.zip", True),
        ("dist", "shop-2-1.1.zip", False),
        ("dist", "notes.txt", True),
        ("dist", "odd.whl", True),
        ("dist", "odd.tar.gz", True),
    ],
)
def test_entry_that_is_named_is_used(kind, name, used):
    assert is_used(Entry(kind, name), NEEDS) is used


def test_young_entry_is_kept():
    old, young = Entry("sandboxes", OTHER, 1, 1000.0), Entry("projects", f"a-{OTHER}", 1, 2000.0)

    assert unused([old, young], NEEDS, 1001.0 + GRACE) == [old]


def test_needs_add_up():
    one = Needs(frozenset({"a"}), frozenset({("shop", "1")}))
    other = Needs(frozenset({"b"}), frozenset({("shop", "2")}))

    assert one | other == Needs(frozenset("ab"), frozenset({("shop", "1"), ("shop", "2")}))


def test_needs_survive_json():
    assert Needs.from_json(NEEDS.to_json()) == NEEDS


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"names": "a", "pins": []},
        {"names": [1], "pins": []},
        {"names": [], "pins": [["a"]]},
        {"names": [], "pins": [["a", 1]]},
        {"names": []},
    ],
)
def test_malformed_needs_are_refused(content):
    with pytest.raises(ValueError, match="expected a list"):
        Needs.from_json(content)
