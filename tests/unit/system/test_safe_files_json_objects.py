"""Any content of a JSON file on the disk: each reader reports it, and none breaks."""

import json
import os
import re

import pytest
from pylonyard.activation import journal
from pylonyard.buildout import last_run
from pylonyard.config import configuration, inputs
from pylonyard.environments import cache_usage
from pylonyard.environments.cache_usage import Stores
from pylonyard.packages.integrity import Verified
from pylonyard.releases import contents
from pylonyard.releases.store import Releases
from pylonyard.server import settings
from pylonyard.system import active_note, safe_files
from pylonyard.system.errors import PylonyardError
from pylonyard.system.rootfs import Tree
from support import CHECKOUT

DAMAGED = {
    "deep": b"[" * 200_000,
    "deep object": b'{"a":' * 200_000,
    "no UTF-8": b'{"version": 1, "\xff": 1}',
    "cut": b'{"version": 1',
    "empty": b"",
    "a list": b"[]",
    "a text": b'"version"',
    "a number": b"1",
    "null": b"null",
    "twice": b'{"version": 1, "version": 1}',
    "a long number": b'{"version": ' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_damaged_text_is_one_line(content):
    with pytest.raises(safe_files.DamagedError) as caught:
        safe_files.json_object(content, 1)

    output = str(caught.value)
    assert output.startswith("expected a JSON object, got ")
    assert "\n" not in output and len(output) < 200


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b'{"version": 2}', safe_files.NewerError),
        (b'{"version": "1"}', safe_files.DamagedError),
        (b'{"version": true}', safe_files.DamagedError),
    ],
)
def test_version_that_is_not_known_is_not_read(content, kind):
    with pytest.raises(kind):
        safe_files.json_object(content, 1)

    assert safe_files.json_object(content) == json.loads(content)


def test_object_without_a_version_has_version_one():
    assert safe_files.json_object('{"a": 1}', 1) == {"a": 1}


READERS = {
    "server.json": lambda f: settings.load(f / "server.json"),
    "releases/1/manifest.json": lambda f: Releases(f / "releases", f / "current").manifest(1) or 0,
    "releases/1//manifest.json": lambda f: contents.read(f / "releases" / "1", 1),
    f"tree{journal.name_of(CHECKOUT)}": lambda f: journal.load(Tree(f / "tree"), CHECKOUT),
    f"tree{active_note.folder_of(CHECKOUT)}/{active_note.NAME}": lambda f: active_note.read(
        Tree(f / "tree"), CHECKOUT
    ),
    str(last_run.PLACE): lambda f: last_run.failure(f) or 0,
    str(inputs.MEMORY): lambda f: last_run.report_unchanged([], f) or 0,
    str(configuration.MEMORY): configuration.remembered,
    "cache/users/0.json": lambda f: cache_usage.users(f / "cache")[1] and 0,
    f".pylonyard/{cache_usage.CACHE}": lambda f: (
        0 if cache_usage.stores_of(f) == Stores(f / "cache", f / "cache" / "eggs") else 1
    ),
    "cache/verified/{}.json": lambda f: int(Verified(f / "cache").has(f, "digest")),
}
"""Each reader; 0 is what it gives where there is nothing to be read."""


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize("name", READERS)
def test_reader_of_a_damaged_file_ends_in_one_line_or_goes_on_without(tmp_path, name, content):
    place = tmp_path / name.format(os.geteuid())
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)

    try:
        assert READERS[name](tmp_path) == 0
    except PylonyardError as error:
        assert "\n" not in str(error)


def test_no_module_reads_json_of_a_file_by_itself():
    read = {
        path.relative_to(CHECKOUT / "recipes" / "pylonyard").as_posix()
        for path in (CHECKOUT / "recipes").rglob("*.py")
        if re.search(r"\bjson\.loads?\(", path.read_text())
    }

    # What an index answers, what programs of ours print, what any installer wrote beside a
    # distribution, and what a script in the template reads.
    assert read - {"system/safe_files.py"} == {
        "packages/index.py",
        "packages/interpreters.py",
        "packages/metadata.py",
        "recipes/production_ini.py",
    }
