import pytest
from pylonyard.buildout import patches
from pylonyard.config.buildout_files import Files
from support import reset_buildout
from zc.buildout import buildout


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BUILDOUT_HOME", str(tmp_path))
    with reset_buildout():
        yield tmp_path


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (("a.cfg", "b.cfg", "buildout.cfg", "default.cfg", "low.cfg"), "buildout.cfg"),
        (("a.cfg", "b.cfg", "default.cfg", "low.cfg"), "b.cfg"),
        (("a.cfg", "default.cfg", "low.cfg"), "a.cfg"),
        (("default.cfg", "low.cfg"), "default.cfg"),
        (("low.cfg",), "low.cfg"),
    ],
)
def test_the_place_of_an_option_is_the_one_that_counts(place, files, expected):
    texts = {"buildout.cfg": "[buildout]\nextends = a.cfg b.cfg\nparts =\n"}
    for name in ("a.cfg", "b.cfg", "buildout.cfg", "default.cfg", "low.cfg"):
        option = f"[site]\nport = {name}\n" if name in files else ""
        (place / name).write_text(texts.get(name, "") + option)
    read = Files(place / "low.cfg")
    patches.read_through(read)

    run = buildout.Buildout("buildout.cfg", [])

    assert run["site"]["port"] == expected
    assert read.place("site", "port").startswith(f"{expected}, line ")
