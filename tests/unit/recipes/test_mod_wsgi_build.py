import hashlib
import io
import sys
import tarfile
from pathlib import Path

import pytest
from pylonyard.environments import eggs_venv
from pylonyard.packages import mod_wsgi_sources
from pylonyard.packages.integrity import Verified
from pylonyard.packages.mod_wsgi_sources import Source
from pylonyard.recipes import mod_wsgi_build
from pylonyard.recipes.mod_wsgi_build import ModWsgiBuild, Python
from pylonyard.system import relocation, subprocesses
from pylonyard.system.errors import CommandError, OptionError

PYTHON = Python(
    version="3.11.7",
    executable="/usr/bin/python3.11",
    prefix="/usr",
    abi="cpython-311",
    shared=True,
    library="libpython3.11.so.1.0",
    libraries="/usr/lib/x86_64-linux-gnu",
    headers="/usr/include/python3.11",
)
SERVER = {"HTTPD_MMN": "20120211", "HTTPD_VERSION": "2.4.71", "CC": "sh -c", "CFLAGS": "-O2"}


@pytest.fixture
def buildout(tmp_path):
    base = {
        "directory": str(tmp_path),
        "parts-directory": str(tmp_path / "parts"),
        "bin-directory": str(tmp_path / "bin"),
        "eggs-directory": str(tmp_path / "eggs"),
        "download-cache": "cache",
        "offline": "true",
    }
    return {"buildout": base}


def archive(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755
            tar.addfile(info, io.BytesIO(content))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_proxy_needs_no_module(buildout):
    options = {"home": "/missing", "mode": "proxy"}

    recipe = ModWsgiBuild(buildout, "wsgi", options)

    assert recipe.files == []
    assert (options["module"], options["load"]) == ("", "")


@pytest.mark.parametrize(
    ("python", "version"),
    [
        ((2, 7), "4.9.4"),
        ((3, 6), "4.9.4"),
        ((3, 7), "4.9.4"),
        ((3, 8), "5.0.2"),
        ((3, 9), "5.0.2"),
        ((3, 10), "6.1.1"),
        ((3, 15), "6.1.1"),
    ],
)
def test_the_newest_version_that_builds_is_chosen(python, version):
    assert mod_wsgi_sources.choose(python).version == version


@pytest.mark.parametrize(
    ("python", "version", "message"),
    [
        ((2, 7), "6.1.1", "expected 4.9.4 for Python 2.7, got '6.1.1'"),
        ((3, 11), "3.3", "expected 6.1.1 or 5.0.2 or 4.9.4 for Python 3.11, got '3.3'"),
        ((2, 6), None, "expected a Python from 2.7 to 3.15 for Python 2.6, got 'none'"),
    ],
)
def test_a_version_that_cannot_serve_is_refused(python, version, message):
    with pytest.raises(ValueError) as caught:
        mod_wsgi_sources.choose(python, version)

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"version": "new"}, "version: expected a version such as 6.1.1, got 'new'"),
        ({"mode": "x"}, "mode: expected proxy or mod_wsgi or embedded, got 'x'"),
        ({"hom": "/x"}, "hom: unknown, did you mean home?"),
    ],
)
def test_every_bad_option_is_named(buildout, more, message):
    with pytest.raises(OptionError) as caught:
        ModWsgiBuild(buildout, "wsgi", {"home": "/x", **more})

    assert str(caught.value) == f"[wsgi] {message}"


@pytest.fixture
def kept(buildout, tmp_path, shelf, monkeypatch):
    """Return a module that stands in its store, and a function that has the part use it."""
    apxs = tmp_path / "apxs"
    apxs.write_text("#!/bin/sh\necho HTTPD_MMN=20120211\n")
    apxs.chmod(0o755)
    home = eggs_venv.make(tmp_path / "sandboxes", [])
    monkeypatch.setattr(mod_wsgi_sources, "SOURCES", [shelf])
    python = mod_wsgi_build.python_of(home)
    name = mod_wsgi_build.store_name(shelf, python, mod_wsgi_build.apache_variables(apxs))
    module = tmp_path / "cache" / "mod_wsgi" / name / "mod_wsgi.so"
    module.parent.mkdir(parents=True)
    module.write_bytes(b"good")

    def use():
        options = {"home": str(home), "mode": "mod_wsgi", "apxs": str(apxs)}
        return ModWsgiBuild(buildout, "wsgi", options).module

    return module, use


@pytest.mark.system
def test_module_that_was_built_here_is_used_again(kept, tmp_path, shelf):
    module, use = kept
    Verified(tmp_path / "cache").note_built(module, shelf.sha256)

    assert use() == module
    assert module.read_bytes() == b"good"


@pytest.mark.system
def test_module_that_was_tampered_with_is_refused_and_put_into_quarantine(kept, tmp_path, shelf):
    module, use = kept
    Verified(tmp_path / "cache").note_built(module, shelf.sha256)
    module.write_bytes(b"evil")

    with pytest.raises(OptionError) as caught:
        use()

    assert str(caught.value).startswith(f"[wsgi] {module}: expected SHA-256 ")
    (aside,) = (tmp_path / "cache" / "refused").iterdir()
    assert aside.read_bytes() == b"evil"
    assert not module.exists()


@pytest.mark.system
def test_module_of_nobody_knows_whom_is_built_anew(kept):
    _, use = kept

    with pytest.raises(OptionError, match="cannot build mod_wsgi"):
        use()


def test_a_missing_apxs_is_reported_with_its_package(buildout, monkeypatch):
    monkeypatch.setattr(mod_wsgi_build, "PROGRAM_PATH", "/nowhere")

    with pytest.raises(OptionError) as caught:
        ModWsgiBuild(buildout, "wsgi", {"home": sys.prefix, "mode": "mod_wsgi"})

    expected = "[wsgi] cannot build mod_wsgi: no apxs; apt-get install apache2-dev"
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("server", "python", "message"),
    [
        (
            {"CC": "missing-cc"},
            {},
            "cannot build mod_wsgi: no missing-cc; apt-get install build-essential",
        ),
        (
            {},
            {"headers": "/missing"},
            "cannot build mod_wsgi: no /missing/Python.h; apt-get install python3.11-dev",
        ),
    ],
)
def test_a_missing_tool_is_reported_with_its_package(
    tmp_path, monkeypatch, server, python, message
):
    (tmp_path / "make").touch(0o755)
    monkeypatch.setattr(mod_wsgi_build, "PROGRAM_PATH", f"{tmp_path}:/bin")
    described = Python(**{**vars(PYTHON), **python})

    with pytest.raises(CommandError) as caught:
        mod_wsgi_build.check_tools(described, {**SERVER, **server})

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("server", "python", "same"),
    [
        ({"HTTPD_VERSION": "2.4.72"}, {}, True),
        ({"HTTPD_MMN": "20200101"}, {}, False),
        ({"CFLAGS": "-O3"}, {}, False),
        ({}, {"version": "3.11.8"}, False),
        ({}, {"libraries": "/opt/lib"}, False),
    ],
)
def test_a_build_is_kept_for_what_decides_it(server, python, same):
    source = mod_wsgi_sources.SOURCES[0]
    name = mod_wsgi_build.store_name(source, PYTHON, SERVER)

    other = mod_wsgi_build.store_name(
        source, Python(**{**vars(PYTHON), **python}), {**SERVER, **server}
    )

    assert (other == name) is same


@pytest.mark.system
def test_the_interpreter_is_asked_in_its_own_process(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to(sys.executable)

    found = mod_wsgi_build.python_of(tmp_path)

    assert found.minor == sys.version_info[:2]
    assert found.name == "python{}.{}".format(*sys.version_info)


def test_offline_a_missing_source_is_reported(buildout, tmp_path):
    with pytest.raises(CommandError) as caught:
        mod_wsgi_build.fetch(mod_wsgi_sources.SOURCES[0], buildout)

    assert str(caught.value) == (
        f"cannot get the source of mod_wsgi 6.1.1: not in the cache {tmp_path}/cache/dist: "
        "mod_wsgi-6.1.1.tar.gz; fetch what is missing where there is a network with: "
        f"python3 {relocation.OURS} fetch mod_wsgi-6.1.1.tar.gz"
    )


def test_offline_a_damaged_source_is_reported(buildout, tmp_path):
    archive(tmp_path / "cache" / "dist" / "mod_wsgi-6.1.1.tar.gz", {"x": b""})

    with pytest.raises(CommandError) as caught:
        mod_wsgi_build.fetch(mod_wsgi_sources.SOURCES[0], buildout)

    assert str(caught.value) == (
        "cannot get the source of mod_wsgi 6.1.1: "
        f"{tmp_path}/cache/dist/mod_wsgi-6.1.1.tar.gz is damaged; fetch what is missing where "
        f"there is a network with: python3 {relocation.OURS} fetch mod_wsgi-6.1.1.tar.gz"
    )


@pytest.fixture
def shelf(buildout, tmp_path):
    """Give a source on a shelf of ``find-links``, in place of any index."""
    (tmp_path / "index").mkdir()
    path = tmp_path / "shelf" / "mod_wsgi-1.0.tar.gz"
    digest = archive(path, {"mod_wsgi-1.0/configure": b"#!/bin/sh\necho error: no luck\nexit 1"})
    buildout["buildout"].update(
        {"offline": "false", "find-links": str(path.parent), "index": str(tmp_path / "index")}
    )
    return Source("1.0", digest, (2, 7), (3, 15))


def test_a_source_is_found_through_find_links_and_kept(buildout, shelf, tmp_path):
    found = mod_wsgi_build.fetch(shelf, buildout)

    assert found == tmp_path / "cache" / "dist" / "mod_wsgi-1.0.tar.gz"
    assert (tmp_path / "shelf" / "mod_wsgi-1.0.tar.gz").exists()
    assert [path.name for path in found.parent.iterdir()] == [found.name]


def test_a_source_that_is_not_the_pinned_one_is_refused(buildout, shelf, tmp_path):
    pinned = Source("1.0", "0" * 64, (2, 7), (3, 15))

    with pytest.raises(CommandError) as caught:
        mod_wsgi_build.fetch(pinned, buildout)

    assert str(caught.value) == (
        f"cannot get the source of mod_wsgi 1.0: expected SHA-256 {'0' * 64}, got {shelf.sha256}"
    )
    assert list((tmp_path / "cache" / "dist").iterdir()) == []


def test_a_source_that_nobody_has_is_reported(buildout, shelf):
    with pytest.raises(CommandError) as caught:
        mod_wsgi_build.fetch(Source("2.0", "", (2, 7), (3, 15)), buildout)

    assert str(caught.value) == (
        "cannot get the source of mod_wsgi 2.0: neither the index nor find-links has it"
    )


def test_a_failed_build_keeps_its_log_and_nothing_else(buildout, shelf, tmp_path):
    place = tmp_path / "cache" / "mod_wsgi" / "hash"

    with pytest.raises(CommandError) as caught:
        mod_wsgi_build.build(
            shelf, mod_wsgi_build.fetch(shelf, buildout), PYTHON, Path("/apxs"), place
        )

    assert str(caught.value) == (
        f"cannot build mod_wsgi 1.0 for Python 3.11.7: error: no luck; the whole log: {place}.log"
    )
    assert [path.name for path in place.parent.iterdir()] == ["hash.log"]


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        ("checking x\nfoo.c:1: error: bad\nmake: *** Error 1\n", "foo.c:1: error: bad"),
        ("configure: something odd\nmake: *** [x] Error 1\n", "configure: something odd"),
        ("", "no output"),
    ],
)
def test_the_reason_of_a_failed_build_is_its_telling_line(tmp_path, log, reason):
    path = tmp_path / "log"
    path.write_text(log)

    assert mod_wsgi_build.reason(path) == reason


@pytest.mark.parametrize(
    ("printed", "message"),
    [
        ("libpython3.11.so.1.0 => not found", "the loader does not find libpython3.11.so.1.0"),
        (
            "libpython3.9.so.1.0 => /x (0x0)",
            "expected it to need libpython3.11.so.1.0, got libpython3.9.so.1.0",
        ),
        ("libc.so.6 => /x (0x0)", "expected it to need libpython3.11.so.1.0, got none"),
    ],
)
def test_a_module_of_the_wrong_python_is_refused(monkeypatch, printed, message):
    monkeypatch.setattr(subprocesses, "run", lambda *arguments: printed)

    with pytest.raises(CommandError) as caught:
        mod_wsgi_build.check_links(Path("mod_wsgi.so"), PYTHON)

    assert str(caught.value) == f"mod_wsgi for Python 3.11.7 is of no use: {message}"
