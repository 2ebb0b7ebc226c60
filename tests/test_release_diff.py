import json

from pylonyard.release_diff import Mask, changes, told
from pylonyard.releases import Releases


def manifest(**files):
    return {"files": {path: {"sha256": text, "mode": "0644"} for path, text in files.items()}}


def test_changes_are_told_in_one_line():
    found = changes(manifest(a="1", b="1", c="1"), manifest(b="2", c="1", d="1"))

    assert str(found) == "changed: b; new: d; gone: a"


def test_long_lists_are_cut():
    assert str(changes({}, manifest(a="", b="", c="", d="", e=""))) == "new: a, b, c and 2 more"


def test_damaged_manifest_is_no_obstacle():
    assert str(changes({"files": []}, {})) == ""


def test_secrets_are_masked_by_key_by_value_and_in_urls():
    mask = Mask(frozenset({"s3cr3t-value"}))

    assert mask.line("authkit.cookie.secret = abc") == "authkit.cookie.secret = <masked 1>"
    assert mask.line("url = mysql://me:abc@db/x") == "url = mysql://me:<masked 1>@db/x"
    assert mask.line("note = with s3cr3t-value in it") == "note = with <masked 2> in it"
    assert mask.line("port = 8080") == "port = 8080"
    assert mask.line("# comment") == "# comment"


def test_difference_of_a_secret_shows_without_it(tmp_path):
    releases = Releases(tmp_path / "releases", tmp_path / "current")
    for number, secret in ((1, "first-secret"), (2, "second-secret")):
        folder = releases.path(number)
        folder.mkdir(parents=True)
        (folder / "ini").write_text(f"[app]\nx = {secret}\n")
        manifest = {"files": {"ini": {"sha256": str(number)}}}
        (folder / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "secrets" / "shop").mkdir(parents=True)
    (tmp_path / "secrets" / "shop" / "x").write_text("second-secret")

    lines = list(told(releases, 1, 2, tmp_path / "secrets"))

    assert lines == [
        "--- 1/ini",
        "+++ 2/ini",
        "@@ -1,2 +1,2 @@",
        " [app]",
        "-x = <masked 1>",
        "+x = <masked 2>",
    ]
