import json
import zipfile

import pytest
from packaging.version import Version
from pylonyard.commands import audit
from pylonyard.commands.main import parsed, run_command
from pylonyard.packages.lock import pylock
from pylonyard.system.errors import UserError

GIT = {
    "type": "GIT",
    "events": [{"introduced": "0"}, {"fixed": "4f6789b035610e0552738cdc4b35ca80"}],
}


def advisory(identity, name, *events, versions=(), aliases=(), **more):
    """Return an advisory, in the form in which OSV exports it."""
    package = {"ecosystem": "PyPI", "name": name, "purl": f"pkg:pypi/{name}"}
    ranges = [GIT, {"type": "ECOSYSTEM", "events": list(events)}] if events else [GIT]
    affected = {"package": package, "ranges": ranges, "versions": list(versions)}
    return {
        "schema_version": "1.6.0",
        "id": identity,
        "aliases": list(aliases),
        "affected": [affected],
        **more,
    }


# Of the advisory database of PyPA, and of GitHub's, in OSV's export; shortened.
PYSEC_WAITRESS = advisory(
    "PYSEC-2022-205",
    "waitress",
    {"introduced": "2.1.0"},
    {"fixed": "2.1.2"},
    versions=["2.1.0", "2.1.1"],
    aliases=["CVE-2022-31015", "GHSA-f5x9-8jwc-25rw"],
    modified="2022-06-14T20:37:51.457649Z",
    published="2022-05-31T23:15:00Z",
)
GHSA_WAITRESS = advisory(
    "GHSA-9298-4cf8-g4wj",
    "waitress",
    {"introduced": "2.0.0"},
    {"fixed": "3.0.1"},
    aliases=["CVE-2024-49768"],
    summary="Waitress has request processing race condition in HTTP pipelining with invalid first "
    "request",
)
SAME_WAITRESS = advisory(
    "GHSA-f5x9-8jwc-25rw",
    "Waitress",
    {"introduced": "2.1.0"},
    {"fixed": "2.1.2"},
    aliases=["CVE-2022-31015"],
    summary="Uncaught Exception (due to a data race) leads to process termination in Waitress",
)
PYSEC_PY = advisory(
    "PYSEC-2022-42969",
    "py",
    {"introduced": "0"},
    {"last_affected": "1.11.0"},
    versions=["0.8.0-alpha2", "0.9.0", "1.4.7.dev3", "1.11.0"],
    aliases=["CVE-2022-42969", "GHSA-w596-4wvx-j9j6"],
)
LISTED = advisory("PYSEC-0000-1", "Zope.Interface", versions=["5.0", "rubbish"])


@pytest.mark.parametrize(
    ("events", "affected", "good"),
    [
        ([{"introduced": "0"}, {"fixed": "1.4.0"}], "0.dev1 0.1 1.3.1 1.4.0rc1", "1.4 1.4.0 2"),
        ([{"introduced": "0"}, {"last_affected": "1.11.0"}], "1.11 1.11.0", "1.11.0.post1 1.12"),
        ([{"introduced": "2.1.0"}], "2.1 99", "2.0 2.1.0rc1"),
        # In any order; two branches, the first of which was fixed by itself.
        (
            [{"fixed": "3.2"}, {"introduced": "3.0"}, {"introduced": "2.0"}, {"fixed": "2.5"}],
            "2.0 2.4 3.0 3.1.9",
            "1.9 2.5 2.9 3.2",
        ),
        ([{"introduced": "1.0", "fixed": "1.2"}], "1.1", "1.2"),
        ([{"introduced": "0"}, {"limit": "2.0"}], "1.9", "2.0 3"),
        ([{"introduced": "0"}, {"limit": "*"}], "1.9 9", ""),
        # Versions that nobody can compare any more decide nothing.
        ([{"introduced": "0"}, {"fixed": "dev-r17"}, {"fixed": "1.0"}], "0.9", "1.0"),
        ([], "", "1.0"),
    ],
)
def test_events_decide_about_a_version(events, affected, good):
    ((_, found),) = audit._advisories(advisory("A-1", "shop", *events))

    assert [v for v in affected.split() if not found.affects(Version(v))] == []
    assert [v for v in good.split() if found.affects(Version(v))] == []


def test_listed_version_is_affected_however_it_is_spelled():
    ((name, found),) = audit._advisories(LISTED)

    assert name == "zope-interface"
    assert found.affects(Version("5.0.0"))
    assert not found.affects(Version("5.1"))


def test_withdrawn_advisory_and_one_of_another_ecosystem_say_nothing():
    npm = advisory("GHSA-1", "shop", {"introduced": "0"})
    npm["affected"][0]["package"]["ecosystem"] = "npm"

    assert list(audit._advisories({**PYSEC_PY, "withdrawn": "2022-11-05T00:00:00Z"})) == []
    assert list(audit._advisories(npm)) == []


def locked(name, version):
    return pylock.Locked(
        name=name,
        version=version,
        wheels={f"{name.replace('-', '_')}-{version}-py3-none-any.whl": "0" * 64},
    )


@pytest.fixture
def database(tmp_path):
    """Return a folder of advisories, as it is when OSV's export is unpacked."""
    folder = tmp_path / "advisories"
    folder.mkdir()
    for each in (PYSEC_WAITRESS, GHSA_WAITRESS, SAME_WAITRESS, PYSEC_PY, LISTED):
        (folder / f"{each['id']}.json").write_text(json.dumps(each))
    return folder


def report_lines(database, *packages):
    known = audit.read(database, {package.name for package in packages})
    return [each.message for each in audit.findings(packages, known)]


WAITRESS = (
    "waitress 2.1.1: GHSA-9298-4cf8-g4wj (CVE-2024-49768) Waitress has request processing race "
    "condition in HTTP pipelining with invalid first request; PYSEC-2022-205 "
    "(GHSA-f5x9-8jwc-25rw, CVE-2022-31015) Uncaught Exception (due to a data race) leads to "
    "process termination in Waitress; fixed in 3.0.1"
)


def test_each_defect_is_told_once_with_the_version_that_has_none_of_them(database):
    assert report_lines(database, locked("waitress", "2.1.1"), locked("shop", "1.0")) == [WAITRESS]


def test_version_is_looked_for_that_no_advisory_affects(database):
    again = advisory("GHSA-0", "waitress", {"introduced": "3.0.1"}, {"fixed": "3.0.2"})
    (database / "again.json").write_text(json.dumps(again))

    (line,) = report_lines(database, locked("waitress", "2.1.1"))

    assert line.endswith("; no version is known that fixes it")


@pytest.mark.parametrize(
    ("package", "line"),
    [
        (
            locked("py", "1.11.0"),
            "py 1.11.0: PYSEC-2022-42969 (GHSA-w596-4wvx-j9j6, CVE-2022-42969); no version is "
            "known that fixes it",
        ),
        (
            locked("py", "1.11.0+ours"),
            "py 1.11.0+ours: PYSEC-2022-42969 (GHSA-w596-4wvx-j9j6, CVE-2022-42969); no version is "
            "known that fixes it",
        ),
        (
            locked("zope-interface", "5.0"),
            "zope-interface 5.0: PYSEC-0000-1; no version is known that fixes it",
        ),
    ],
)
def test_defect_without_a_fix_is_told_as_such(database, package, line):
    assert report_lines(database, package) == [line]


def test_zip_file_and_single_file_are_read_alike(database, tmp_path):
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in database.iterdir():
            packed.write(path, path.name)

    assert report_lines(archive, locked("waitress", "2.1.1")) == [WAITRESS]
    assert len(report_lines(database / "PYSEC-2022-42969.json", locked("py", "1.0"))) == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "{", "{}/a.json: expected an advisory in the OSV format: "),
        ("a.json", "[]", "{}/a.json: expected an advisory in the OSV format: "),
        (
            "a.json",
            '{"id": "A", "affected": [{"package": {"ecosystem": "PyPI"}}]}',
            "{}/a.json: exp",
        ),
        ("a.yaml", "id: A", "{}: expected advisories in the OSV format (*.json, or a zip file of"),
    ],
)
def test_database_that_cannot_be_read_is_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)

    with pytest.raises(UserError) as caught:
        audit.read(tmp_path, {"shop"})

    assert str(caught.value).startswith(message.format(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.zip", "{}/none.zip: No such file or directory"),
        ("none", "{}/none: No such file or directory"),
        ("bad.zip", "{}/bad.zip: expected a zip file: File is not a zip file"),
    ],
)
def test_database_that_is_not_there_is_one_line(tmp_path, name, message):
    (tmp_path / "bad.zip").write_text("rubbish")

    with pytest.raises(UserError) as caught:
        audit.read(tmp_path / name, {"shop"})

    assert str(caught.value) == message.format(tmp_path)


@pytest.fixture
def lock(tmp_path):
    """Return a lock of two distributions, where a sandbox has it."""
    file = tmp_path / "profiles" / "pylock.toml"
    file.parent.mkdir()
    file.write_text(pylock.text([locked("waitress", "2.1.1"), locked("py", "2.0")], "../cache"))
    return file


def run(tmp_path, *words):
    """Do what ``bin/pylonyard audit`` does in a sandbox; return its exit status."""
    return run_command(str(tmp_path), str(tmp_path / "bin"), parsed(["audit", *map(str, words)]))


def test_command_fails_if_something_is_affected(tmp_path, database, lock, capsys):
    assert run(tmp_path, database) == 1
    assert capsys.readouterr().out == (
        f"{WAITRESS}\n1 of the 2 distributions in {lock} affected.\n"
    )


def test_command_succeeds_if_nothing_is(tmp_path, database, lock, capsys):
    assert run(tmp_path, database / "PYSEC-2022-42969.json") == 0
    assert capsys.readouterr().out == f"None of the 2 distributions in {lock} affected.\n"


def test_command_prints_an_object_for_machines(tmp_path, database, lock, capsys):
    assert run(tmp_path, "--json", database) == 1

    found = json.loads(capsys.readouterr().out)
    assert (found["version"], found["lock"]) == (1, str(lock))
    (affected,) = found["affected"]
    assert {key: affected[key] for key in ("name", "version", "fixed")} == {
        "name": "waitress",
        "version": "2.1.1",
        "fixed": "3.0.1",
    }
    assert affected["advisories"][0]["ids"] == ["CVE-2024-49768", "GHSA-9298-4cf8-g4wj"]


def test_lock_that_is_not_there_is_one_line(tmp_path, database, capsys):
    assert run(tmp_path, "--file", "other.toml", database) == 1
    assert capsys.readouterr().err == (
        f"pylonyard: expected a lock, got No such file or directory: {tmp_path}/other.toml\n"
    )
