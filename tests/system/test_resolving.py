"""The versions that are chosen are those that pip chooses, whatever the cache holds."""

import contextlib
import json
import random
import shutil
import subprocess
import sys
import tarfile

import package_index
import pytest
from checkouts import CACHE
from interpreters_for_all import other_python
from pylonyard.environments import pip_versions
from pylonyard.environments.pip_venv import Contents
from pylonyard.packages import zc_installer
from pylonyard.packages.index import Places
from pylonyard.packages.interpreters import find
from pylonyard.packages.resolver import resolution
from pylonyard.system.errors import OptionError, PylonyardError

pytestmark = pytest.mark.system

# A table of distributions each, what is wanted, and constraints.
SETS = {
    "an old one is wanted by one of two": (
        {
            "lib 1.0": [],
            "lib 2.0": [],
            "strict 1.0": ["lib<2"],
            "loose 1.0": ["lib>=1.0"],
        },
        ["loose", "strict"],
        "",
    ),
    "the newest is too new for another": (
        {
            "web 1.0": ["template<3"],
            "web 2.0": ["template>=3"],
            "template 2.0": [],
            "template 3.0": [],
            "theme 1.0": ["template<3"],
        },
        ["web", "theme"],
        "",
    ),
    "several steps back": (
        {
            **{f"alpha {n}.0": [f"common=={n}.0"] for n in range(1, 9)},
            **{f"beta {n}.0": [f"common=={n}.0"] for n in range(1, 5)},
            **{f"common {n}.0": [] for n in range(1, 9)},
        },
        ["alpha", "beta"],
        "",
    ),
    "a diamond": (
        {
            "left 1.0": ["base>=1"],
            "left 2.0": ["base>=2"],
            "right 1.0": ["base<2"],
            "right 0.9": ["base"],
            "base 1.0": [],
            "base 1.5": [],
            "base 2.0": [],
        },
        ["left", "right"],
        "",
    ),
    "extras": (
        {
            "shop 1.0": ["pay>=1; extra == 'Card_Pay'"],
            "shop 2.0": ["pay>=2; extra == 'card-pay'", "mail; extra == 'news'"],
            "pay 1.0": [],
            "pay 2.0": ["ledger<2"],
            "ledger 1.0": [],
            "ledger 2.0": [],
            "mail 1.0": ["ledger"],
        },
        ["shop[card-pay,news]", "ledger"],
        "",
    ),
    "constraints": (
        {
            "app 1.0": ["orm", "forms"],
            "orm 1.0": [],
            "orm 2.0": ["forms>=2"],
            "forms 1.0": [],
            "forms 2.0": [],
        },
        ["app"],
        "forms<2\norm>=1\nnever-asked==3\n",
    ),
    "markers": (
        {
            "app 1.0": ["old; python_version < '3'", "new>=2; python_version >= '3'"],
            "old 1.0": [],
            "new 1.0": [],
            "new 2.0": ["old; sys_platform == 'none'"],
        },
        ["app"],
        "",
    ),
    "before a release": (
        {
            "app 1.0": ["engine>=1.0"],
            "engine 1.0": [],
            "engine 2.0rc1": [],
            "beta 1.0b2": [],
            "plugin 1.0": ["engine>=2.0rc1"],
        },
        ["app", "beta", "plugin"],
        "",
    ),
    "nothing fits": (
        {
            "one 1.0": ["shared<2"],
            "two 1.0": ["shared>=2"],
            "shared 1.0": [],
            "shared 2.0": [],
        },
        ["one", "two"],
        "",
    ),
    "nothing is there": ({"app 1.0": ["missing>=1", "present"], "present 1.0": []}, ["app"], ""),
    "one way out, far away": (
        {
            **{f"front {n}.0": ["middle", f"floor>={n}"] for n in range(1, 7)},
            **{f"middle {n}.0": [f"back>={n}"] for n in range(1, 7)},
            **{f"back {n}.0": ["floor<4"] for n in range(1, 7)},
            **{f"floor {n}.0": [] for n in range(1, 9)},
        },
        ["front", "middle>=2"],
        "",
    ),
}


PIP = """
import contextlib, io, json, sys
from pip._internal.cli.main import main
for words in json.load(sys.stdin):
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        failed = main(words)
    listed = [] if failed else json.loads(told.getvalue())["install"]
    found = {each["metadata"]["name"]: each["metadata"]["version"] for each in listed}
    print(json.dumps(None if failed else found), flush=True)
"""


@pytest.fixture(scope="module")
def pip(tmp_path_factory):
    """For each set its index, its constraints, and what pip would install: None if it refuses."""
    folder, how = tmp_path_factory.mktemp("sets"), []
    with contextlib.ExitStack() as stack:
        found = {}
        for number, (told, (table, wanted, limits)) in enumerate(SETS.items()):
            constraints = folder / f"{number}.txt"
            constraints.write_text(limits)
            index = stack.enter_context(package_index.serve(folder / str(number), table))
            found[told] = (index, constraints)
            words = ["--isolated", "install", "--quiet", "--dry-run", "--ignore-installed"]
            words += ["--no-cache-dir", "--disable-pip-version-check", "--report", "-"]
            how.append(
                [*words, "--index-url", index.url, "--constraint", str(constraints), *wanted]
            )
        done = subprocess.run(
            [sys.executable, "-c", PIP], input=json.dumps(how), capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        answers = map(json.loads, done.stdout.splitlines())
        yield dict(zip(found, zip(found.values(), answers, strict=True), strict=True))


def chosen(buildout, index, wanted, constraints=None):
    """Return what we choose: name -> version; None if nothing fits."""
    asked = zc_installer.Asked(constraints=constraints)
    request = zc_installer.request(buildout, wanted, [], Places(index=index.url), {}, asked)
    try:
        found = resolution.choose(buildout, "app", request)
    except PylonyardError:
        return None
    return {each.name: each.version for each in found}


@pytest.mark.parametrize("told", SETS)
def test_versions_are_those_of_pip(sandbox, pip, told):
    (index, constraints), expected = pip[told]

    found = chosen(sandbox.buildout({}), index, SETS[told][1], constraints)

    assert found == expected
    assert (expected is None) == told.startswith("nothing")


def test_what_the_cache_holds_decides_nothing(sandbox, tmp_path):
    table, wanted, _ = SETS["one way out, far away"]
    order, cache = random.Random(7), tmp_path / "cache"
    results = set()

    with package_index.serve(tmp_path / "files", table, has_metadata=False) as index:
        for number in range(20):
            shutil.rmtree(cache, ignore_errors=True)
            (cache / "dist").mkdir(parents=True)
            files = sorted(index.folder.iterdir())
            order.shuffle(files)
            for file in files[: order.randrange(len(files))]:
                shutil.copy(file, cache / "dist")
            options = {"buildout:download-cache": str(cache), "buildout:newest": "true"}
            found = chosen(sandbox.buildout(options), index, wanted)
            results.add(json.dumps(found, sort_keys=True))
            assert found, number

    assert len(results) == 1


def test_what_another_python_cannot_build_is_told_with_its_reason(sandbox, tmp_path):
    command = other_python(("python3.12", "python3.11", "python3.10", "python3"))
    dist = tmp_path / "cache" / "dist"
    dist.mkdir(parents=True)
    for name in ("pip-", "setuptools-", "wheel-", "packaging-"):
        for wheel in (CACHE / "dist").glob(f"{name}*.whl"):
            shutil.copy(wheel, dist)
    source = tmp_path / "brokenlib-1.0"
    source.mkdir()
    (source / "setup.py").write_text("raise SystemExit('brokenlib: use_2to3 is invalid')\n")
    with tarfile.open(dist / "brokenlib-1.0.tar.gz", "w:gz") as archive:
        archive.add(source, source.name)
    options = {"buildout:download-cache": str(dist.parent), "buildout:offline": "true"}
    contents = Contents(interpreter=find(command), requirements=("brokenlib",), pins={})

    with pytest.raises(OptionError) as caught:
        pip_versions.chosen(sandbox.buildout(options), "app", contents, {}, zc_installer.Asked())

    log = sandbox.directory / ".pylonyard" / "builds" / "brokenlib-1.0.log"
    assert str(caught.value) == (
        "[app] eggs: cannot build brokenlib-1.0: brokenlib: use_2to3 is invalid (all that pip "
        f"printed is in {log}); only setuptools before 58 can build that"
    )
    assert "[end of output]" in log.read_text()
