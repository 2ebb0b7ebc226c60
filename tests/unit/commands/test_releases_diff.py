import hashlib
import json
import os
import time
import urllib.parse

import pytest
from pylonyard.commands.releases import Mask, changes, diff
from pylonyard.config import converters
from pylonyard.releases.store import Releases


def manifest(**files):
    return {"files": {path: {"sha256": text, "mode": "0644"} for path, text in files.items()}}


def test_changes_are_reported_in_one_line():
    found = changes(manifest(a="1", b="1", c="1"), manifest(b="2", c="1", d="1"))

    assert str(found) == "1 changed: b; 1 new: d; 1 gone: a"


def test_long_lists_are_cut():
    paths = ("shop/bin/paster", "shop/bin/python", "shop/production.ini", "etc/init.d/shop")
    assert str(changes({}, manifest(**dict.fromkeys(paths, "")))) == (
        "4 new: shop, production.ini, ..."
    )


def test_damaged_manifest_is_no_obstacle():
    assert str(changes({"files": []}, {})) == ""


def test_secrets_are_masked_by_key_by_value_and_in_urls():
    mask = Mask(frozenset({"s3cr3t-value"}))

    assert mask.line("authkit.cookie.secret = abc") == "authkit.cookie.secret = <masked 1>"
    assert mask.line("url = mysql://me:abc@db/x") == "url = mysql://me:<masked 1>@db/x"
    assert mask.line("note = with s3cr3t-value in it") == "note = with <masked 2> in it"
    assert mask.line("port = 8080") == "port = 8080"
    assert mask.line("# comment") == "# comment"


def masked(*lines):
    return list(Mask(frozenset()).lines(lines, frozenset()))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("smtp_pass = x", "smtp_pass = <masked 1>"),
        ("dbpass: x", "dbpass: <masked 1>"),
        ("db_pw = x", "db_pw = <masked 1>"),
        ("ssl.passphrase = x ", "ssl.passphrase = <masked 1> "),
        ("private = x", "private = <masked 1>"),
        ("dsn = host=db user=shop password=x", "dsn = <masked 1>"),
        ("api.credentials = a://b", "api.credentials = <masked 1>"),
        ("#password = x", "#password = <masked 1>"),
        ("; password = x", "; password = <masked 1>"),
        ('  "password": "x",', '  "password": <masked 1>'),
        ("conn = a:b password=x timeout=3", "conn = a:b password=<masked 1> timeout=3"),
        ('{"a": 1, "token": "x y", "b": 2}', '{"a": 1, "token": <masked 1> "b": 2}'),
        ("u = mysql://shop:p@ss@db/x", "u = mysql://shop:<masked 1>@db/x"),
        ("u = mysql://shop:pa/ss@db/x", "u = mysql://shop:<masked 1>@db/x"),
        ("u = mysql://me@shop:pass@db/x", "u = mysql://me@shop:<masked 1>@db/x"),
        ("u = http://h/x,mysql://shop:x@db", "u = http://h/x,mysql://shop:<masked 1>@db"),
        ("u = https://h/?token=x&page=2", "u = https://h/?token=<masked 1>&page=2"),
        ("sentry.dsn = https://x@sentry/1", "sentry.dsn = https://<masked 1>@sentry/1"),
        ("token.url = https://me:x@h/in", "token.url = https://me:<masked 1>@h/in"),
        ("token.url = https://h/in?key=x", "token.url = https://h/in?key=<masked 1>"),
        ("token.url = x", "token.url = <masked 1>"),
        ("    SetEnv DB_PASSWORD x", "    SetEnv DB_PASSWORD <masked 1>"),
        ("    #SetEnv DB_PASSWORD x", "    #SetEnv DB_PASSWORD <masked 1>"),
        ("Define SHOP_SECRET x", "Define SHOP_SECRET <masked 1>"),
        ('RequestHeader set X-Auth-Token "x"', "RequestHeader set X-Auth-Token <masked 1>"),
        ('Header always set X-Key "x: y"', "Header always set X-Key <masked 1>"),
        ("SessionCryptoPassphrase x", "SessionCryptoPassphrase <masked 1>"),
        ('BalancerMember "ajp://h:1" secret=x', 'BalancerMember "ajp://h:1" secret=<masked 1>'),
    ],
)
def test_secret_is_masked(line, expected):
    assert masked(line) == [expected]


@pytest.mark.parametrize(
    "line",
    [
        "path = /srv/shop:/srv/x",
        "host = 127.0.0.1",
        "port = 8080",
        "db.user = shop",
        "compass = north",
        "bypass = 10.0.0.0/8",
        "passenger = 1",
        "password =",
        "token.url = https://login.example.org:8443/in",
        "sqlalchemy.url = mysql://shop@db:3306/shop",
        "email_to = shop@example.org",
        "# Who signs the cookies of visitors: keep it to yourself.",
        '    ProxyPass "/" "http://127.0.0.1:8080/" retry=10',
        "    ServerTokens Prod",
        "    SSLCertificateKeyFile /etc/ssl/private/shop.pem",
        '    <Location "/auth:in">',
        "    SetEnv LANG C.UTF-8",
        "    RequestHeader set X-Forwarded-Proto expr=%{REQUEST_SCHEME}",
    ],
)
def test_difference_that_is_no_secret_is_shown(line):
    assert masked(line) == [line]


def test_secret_goes_on_below_its_key():
    lines = [
        "beaker.session.secret =",
        "    one",
        "# why",
        "#debug = true",
        "#   zero",
        "",
        "\ttwo",
        "lang = en",
        "    de",
    ]

    assert masked(*lines) == [
        "beaker.session.secret =",
        "    <masked 1>",
        "# why",
        "#debug = true",
        "<masked 2>",
        "",
        "\t<masked 3>",
        "lang = en",
        "    de",
    ]


def test_secret_goes_on_within_a_comment():
    assert masked("#secret = one", "# two", "#lang = en", "# de") == [
        "#secret = <masked 1>",
        "<masked 2>",
        "#lang = en",
        "# de",
    ]


def test_secret_of_a_directive_ends_where_the_next_begins():
    lines = ["  SetEnv SECRET \\", "  one", "  # why", "  SetEnv LANG C"]

    assert masked(*lines) == [
        "  SetEnv SECRET <masked 1>",
        "  <masked 2>",
        "  # why",
        "  SetEnv LANG C",
    ]


def test_same_secret_is_masked_alike_wherever_it_stands():
    lines = ["db_pw = x", "u = mysql://shop:x@db?token=x", "SetEnv SECRET x", "secret =", " x"]

    assert masked(*lines, "db_pw = y") == [
        "db_pw = <masked 1>",
        "u = mysql://shop:<masked 1>@db?token=<masked 1>",
        "SetEnv SECRET <masked 1>",
        "secret =",
        " <masked 1>",
        "db_pw = <masked 2>",
    ]


@pytest.mark.parametrize(
    "part",
    ["a", " ", "#", "key", "a=", "key=", "://a:", "http://", "@", '"', 'key="', '\\"', "a\t#"],
)
def test_long_line_takes_no_longer_than_its_length(part):
    lines = [begin + part * (200_000 // len(part)) + "=" for begin in ("", "x ", "url=")]
    began = time.process_time()

    masked(*lines)
    Mask(frozenset()).keys(lines)

    # What looks at each end from each begin takes minutes.
    assert time.process_time() - began < 5


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

    lines = list(diff(releases, 1, 2, tmp_path / "secrets"))

    assert lines == [
        "--- 1/ini",
        "+++ 2/ini",
        "@@ -1,2 +1,2 @@",
        " [app]",
        "-x = <masked 1>",
        "+x = <masked 2>",
    ]


def differences(folder, texts, secret):
    """Return the lines that differ of the first two releases of an ini."""
    releases = Releases(folder / "releases", folder / "current")
    for number, text in enumerate(texts, 1):
        release(releases.path(number), ini=("0600", text.encode()))
    (folder / "secrets" / "shop").mkdir(parents=True)
    (folder / "secrets" / "shop" / "x").write_text(secret)
    lines = list(diff(releases, 1, 2, folder / "secrets"))[3:]
    return [line for line in lines if line[0] in "-+"]


@pytest.mark.parametrize(
    "text",
    ["{}", "https://hooks.example.org/services/{}", "a {} b", "\n  https://h/one\n  https://h/{}"],
)
@pytest.mark.parametrize("in_url", [False, True])
@pytest.mark.parametrize("spell", [converters.ini, converters.ini_python2])
def test_secret_is_masked_however_it_is_spelled(tmp_path, text, in_url, spell):
    secrets = ["T0AB/B0%CD/s3cr3t", "T0AB/B0%CD/0ther ~é"]
    put = [spell(urllib.parse.quote(s, safe="") if in_url else s) for s in secrets]
    texts = [f"[app]\nhook = {text}\n".format(one) for one in put]

    for number, secret in enumerate(secrets):
        lines = differences(tmp_path / str(number), texts, secret)

        assert lines
        assert all("masked" in line and "T0AB" not in line for line in lines)


def test_secret_that_was_replaced_is_masked_as_well(tmp_path):
    form = "[app]\nport = {0}\n#was = https://{0}.org/{1}/in\nhook = https://{0}.org/{1}/in\n"
    texts = [form.format(*each) for each in (("a", "one"), ("b", "two"), ("c", "third-secret"))]

    assert differences(tmp_path, texts, "third-secret") == [
        "-port = a",
        "-#was = <masked 1>",
        "-hook = <masked 1>",
        "+port = b",
        "+#was = <masked 2>",
        "+hook = <masked 2>",
    ]


def test_of_a_url_with_a_password_the_rest_is_shown(tmp_path):
    urls = [f"mysql://me:{s}@{h}/x?token={s}" for h, s in (("a", "old"), ("b", "new-secret"))]

    assert differences(tmp_path, [f"db = {url}\n" for url in urls], "new-secret") == [
        "-db = mysql://me:<masked 1>@a/x?token=<masked 1>",
        "+db = mysql://me:<masked 2>@b/x?token=<masked 2>",
    ]


def release(folder, **files):
    """Make a release of files by name: mode and content."""
    folder.mkdir(parents=True)
    said = {}
    for name, (mode, content) in files.items():
        (folder / name).write_bytes(content)
        said[name] = {"sha256": hashlib.sha256(content).hexdigest(), "mode": mode}
    (folder / "manifest.json").write_text(json.dumps({"files": said}))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (("0600", b"a\n"), ("0644", b"a\n"), "1/x and 2/x differ only in mode"),
        (("0644", b"\xff"), ("0644", b"\xfe"), "binary files 1/x and 2/x differ"),
        (("0644", b"a\r\n"), ("0644", b"a\n"), "1/x and 2/x differ only in line ends"),
    ],
)
def test_change_without_a_differing_line_is_reported(tmp_path, before, after, expected):
    releases = Releases(tmp_path / "releases", tmp_path / "current")
    release(releases.path(1), x=before)
    release(releases.path(2), x=after)

    assert list(diff(releases, 1, 2, tmp_path / "secrets")) == [expected]


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (b"old", "1/x and 2/x differ only in mode"),
        (b"new", "1/x and 2/x differ in content, and cannot be read: not a regular file"),
    ],
)
def test_unreadable_files_are_reported_as_different(tmp_path, after, expected):
    releases = Releases(tmp_path / "releases", tmp_path / "current")
    release(releases.path(1), x=("0600", b"old"))
    release(releases.path(2), x=("0640", after))
    for number in (1, 2):
        # Whoever runs the tests may be root, who can read any file.
        (releases.path(number) / "x").unlink()
        (releases.path(number) / "x").mkdir()

    assert list(diff(releases, 1, 2, tmp_path / "secrets")) == [expected]


def test_pipe_is_not_waited_for(tmp_path):
    releases = Releases(tmp_path / "releases", tmp_path / "current")
    for number in (1, 2):
        release(releases.path(number), x=("0600", b"%d" % number))
    (releases.path(2) / "x").unlink()
    os.mkfifo(releases.path(2) / "x")
    (tmp_path / "secrets/shop").mkdir(parents=True)
    os.mkfifo(tmp_path / "secrets/shop/x")

    assert list(diff(releases, 1, 2, tmp_path / "secrets"))[3:] == [
        "-1",
        "+(cannot be read: not a regular file)",
    ]


def test_new_empty_file_is_reported(tmp_path):
    releases = Releases(tmp_path / "releases", tmp_path / "current")
    release(releases.path(1))
    release(releases.path(2), x=("0644", b""))

    lines = list(diff(releases, 1, 2, tmp_path / "secrets"))

    assert lines == ["2/x is only in the manifest of that release"]
