from pathlib import Path

import package_index
import pytest
from pylonyard.environments import pip_versions
from pylonyard.environments.pip_venv import Contents
from pylonyard.packages.interpreters import Interpreter
from pylonyard.packages.zc_installer import Asked
from pylonyard.system.errors import OptionError
from support import make_wheel

OLD = Interpreter(Path("/usr/bin/python2.7"), (2, 7, 18), "cp27mu")
TABLE = {
    "App 1.0": ["lib", "backport; python_version < '3'", "forward; python_version > '3'"],
    "lib 1.0": [],
    "lib 2.0": [],
    "backport 1.0": ["elementtree"],
}


@pytest.fixture
def index(tmp_path):
    with package_index.serve(tmp_path / "files", TABLE) as index:
        for file in list(index.folder.iterdir()):
            file.rename(file.with_name(file.name.replace("-py3-", "-py2.py3-")))
        index.requires_python = {"lib-2.0-py2.py3-none-any.whl": ">=3"}
        yield index


@pytest.fixture
def choose(sandbox, index):
    """Return a function: pins, options of buildout -> the pins for an environment of Python 2.7."""

    def run(pins, asked=Asked(), provided=(("elementtree", "1.2.7"),), **options):  # noqa: B008
        named = {f"buildout:{name.replace('_', '-')}": value for name, value in options.items()}
        named |= {"buildout:find-links": "", "buildout:index": index.url}
        contents = Contents(
            interpreter=OLD,
            requirements=("App",),
            pins=pins,
            provided=provided,
            index=index.url,
        )
        buildout = sandbox.buildout(named)
        return pip_versions.chosen(buildout, "app", contents, pins, asked).pins

    return run


def test_another_python_gets_what_its_markers_ask_for_and_what_is_for_it(choose):
    assert choose({}) == {"app": "1.0", "backport": "1.0", "lib": "1.0"}


def test_pins_keep_their_spelling_and_ranges_are_narrowed(choose):
    pins = {"APP": "1.0", "Lib": ">=1.0", "never": "3"}

    assert choose(pins) == {"APP": "1.0", "Lib": "1.0", "backport": "1.0", "never": "3"}


def test_what_has_no_pin_is_refused_as_for_buildout_s_own_python(choose):
    with pytest.raises(OptionError, match=r"app, lib have no pins, and allow-picked-versions"):
        choose({"backport": "1.0"}, allow_picked_versions="false")


def test_constraints_hold_for_another_python(choose, tmp_path):
    limits = tmp_path / "constraints.txt"
    limits.write_text("lib==2.0; python_version > '3'\nbackport>=2; python_version < '3'\n")

    with pytest.raises(OptionError, match=r"cannot get backport>=2 .*, which app 1.0 needs"):
        choose({}, Asked(limits))
    limits.write_text("lib==2.0; python_version > '3'\n")
    assert choose({}, Asked(limits))["lib"] == "1.0"


def test_offline_what_the_cache_lacks_is_named(choose, tmp_path):
    with pytest.raises(OptionError, match=r"not in the cache .*: .*App"):
        choose({}, offline="true", download_cache=str(tmp_path / "cache"))


def test_a_source_archive_needs_what_its_wheel_in_the_cache_says(choose, index, tmp_path):
    for file in index.folder.glob("lib-*"):
        file.unlink()
    (index.folder / "lib-3.0.tar.gz").write_bytes(b"nobody builds this")
    dist = tmp_path / "cache" / "dist"
    dist.mkdir(parents=True)
    wheel = make_wheel(dist, "lib", "3.0", requires="backport; python_version < '3'")
    wheel.rename(dist / "lib-3.0-py2-none-any.whl")

    assert choose({}, download_cache=str(tmp_path / "cache"))["lib"] == "3.0"
