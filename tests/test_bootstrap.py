import configparser
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import packaging
import pytest
from pylonyard.environments import pip_venv
from pylonyard.packages.wheels import sha256
from support import CHECKOUT, make_wheel

RUN = [sys.executable, "-E", "bootstrap.py", "--offline"]


@pytest.fixture
def checkout(tmp_path):
    """A copy of the checkout that has neither tools nor a cache."""
    folder = tmp_path / "a checkout"
    folder.mkdir()
    shutil.copy(CHECKOUT / "bootstrap.py", folder)
    for name in ("recipes", "setup.py"):
        (folder / name).symlink_to(CHECKOUT / name)
    (folder / "profiles").mkdir()
    return folder


@pytest.fixture
def bootstrap(checkout, tmp_path, monkeypatch):
    """The module of that checkout; nobody's home is read."""
    monkeypatch.setenv("BUILDOUT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    spec = importlib.util.spec_from_file_location("bootstrap", checkout / "bootstrap.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pins(checkout, *wheels, digest=None):
    """Write tools.txt: a pin for each wheel, and its digest or, for the first, ``digest``."""
    lines = []
    for wheel in wheels:
        name, version = wheel.name.split("-")[:2]
        lines.append(f"{name.lower()}=={version} \\\n    --hash=sha256:{digest or sha256(wheel)}\n")
        digest = None
    (checkout / "profiles" / "tools.txt").write_text("# Tools.\n" + "".join(lines))


def make_pip(folder):
    """Make a wheel of pip: of the real one, what tells which wheels are usable here."""
    source = Path(packaging.__file__).parent
    files = {"pip/__init__.py": "", "pip/_vendor/__init__.py": ""}
    for module in source.glob("*.py"):
        files[f"pip/_vendor/packaging/{module.name}"] = module.read_text()
    return make_wheel(folder, "pip", "1.0", files)


def usable(wheel):
    name, version = wheel.name.split("-")[:2]
    return name.lower(), version


def test_requirements_are_read_with_their_digests(bootstrap, tmp_path):
    path = tmp_path / "tools.txt"
    path.write_text(
        "# comment\n\na==1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"
        "b-c==2 --hash=sha256:cc # d\n"
    )

    assert list(bootstrap.tools.requirements(path)) == [
        ("a", "1.0", {"aa", "bb"}),
        ("b-c", "2", {"cc"}),
    ]


@pytest.mark.parametrize("name", ["tools.txt", "tests.txt", "docs.txt", "dist.txt"])
def test_every_tool_is_pinned_with_a_digest(bootstrap, name):
    for _, version, digests in bootstrap.tools.requirements(CHECKOUT / "profiles" / name):
        assert version
        assert digests
        assert all(len(digest) == 64 for digest in digests)


def test_tools_are_those_of_the_versions_profile(bootstrap):
    profile = configparser.RawConfigParser()
    profile.read(CHECKOUT / "profiles" / "versions-tools.cfg")
    pinned = {name.replace(".", "-").lower(): v for name, v in profile["versions"].items()}

    for name, version, _ in bootstrap.tools.requirements(CHECKOUT / "profiles" / "tools.txt"):
        assert pinned.get(name, version) == version, name
    assert {name: pinned[name] for name in pip_venv.CURRENT} == pip_venv.CURRENT


def test_profile_of_a_deployment_pins_no_tool():
    """Whatever zc.buildout 6 somebody has, a project extends the profile."""
    profiles, wanted, pinned = CHECKOUT / "profiles", ["base.cfg"], set()
    while wanted:
        profile = configparser.RawConfigParser()
        profile.read(profiles / wanted.pop())
        wanted += profile.get("buildout", "extends", fallback="").split()
        pinned |= set(profile["versions"]) if "versions" in profile else set()
    tools = configparser.RawConfigParser()
    tools.read(profiles / "versions-tools.cfg")

    assert {"waitress", "pastescript"} <= pinned
    assert pinned.isdisjoint(tools["versions"])


def test_cache_is_that_of_the_checkout(bootstrap, checkout):
    cache = bootstrap.Cache(bootstrap.CHECKOUT)

    assert (cache.root, cache.dist) == (checkout / "cache", checkout / "cache" / "dist")
    assert cache.eggs.parent == checkout / "cache" / "eggs" / "v5"
    assert cache.environments == checkout / "cache" / "sandboxes"


def test_cache_may_be_shared_as_buildout_shares_it(bootstrap, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "default.cfg").write_text(
        f"[buildout]\ndownload-cache = {tmp_path}/shared\neggs-directory = ~/eggs\n"
    )

    cache = bootstrap.Cache(bootstrap.CHECKOUT)

    assert cache.dist == tmp_path / "shared" / "dist"
    assert cache.eggs.parent == Path.home() / "eggs" / "v5"


def test_cached_and_missing_wheels_are_distinguished(bootstrap, checkout):
    cache = bootstrap.Cache(bootstrap.CHECKOUT)
    cache.dist.mkdir(parents=True)
    wheel = make_wheel(cache.dist, "Tool", "1.0")
    wanted = [("tool", "1.0", {"aa"}), ("tool", "2.0", set()), ("other", "1", set())]

    found, missing = bootstrap.split_by_cache(cache, wanted, usable)

    assert found == [(wheel, {"aa"})]
    assert missing == ["tool==2.0", "other==1"]


def test_wheels_of_other_pythons_are_not_usable(bootstrap, checkout):
    works = bootstrap.usable_wheels(make_pip(checkout))

    assert works(Path("Tool_X-1.0-py3-none-any.whl")) == ("tool-x", "1.0")
    assert works(Path("tool-1.0-cp27-cp27m-win32.whl")) is None
    assert works(Path("no-wheel")) is None


def test_without_a_cached_pip_nothing_of_the_cache_is_usable(bootstrap):
    works = bootstrap.usable_wheels(None)

    assert works(Path("Tool_X-1.0-py3-none-any.whl")) is None


def test_cached_pip_is_taken_if_its_digest_is_recorded(bootstrap, checkout):
    cache = bootstrap.Cache(bootstrap.CHECKOUT)
    cache.dist.mkdir(parents=True)
    pip = make_wheel(cache.dist, "pip", "1.0")

    pins(checkout, pip, digest="0" * 64)
    assert bootstrap.cached_pip(cache) is None

    pins(checkout, pip)
    assert bootstrap.cached_pip(cache) == pip


@pytest.mark.system
def test_without_a_cached_pip_the_interpreter_s_own_is_run(bootstrap, checkout):
    cache = bootstrap.Cache(bootstrap.CHECKOUT)
    pins(checkout)

    with bootstrap.pip_command(cache) as pip:
        assert subprocess.check_output([*pip, "--version"], text=True).startswith("pip ")

    assert os.listdir(cache.root) == []


@pytest.mark.parametrize(
    ("prefix", "remedy"),
    [
        ("/usr", "install it as root with: apt-get install python{}.{}-venv"),
        ("/opt/python", "run bootstrap.py with another interpreter of Python 3.10 or newer"),
    ],
)
def test_an_interpreter_without_ensurepip_is_one_line(bootstrap, monkeypatch, prefix, remedy):
    cache = bootstrap.Cache(bootstrap.CHECKOUT)
    monkeypatch.setattr(importlib.util, "find_spec", {}.get)
    monkeypatch.setattr(shutil, "which", {"apt-get": "/usr/bin/apt-get"}.get)
    monkeypatch.setattr(sys, "base_prefix", prefix)

    with pytest.raises(SystemExit) as ended, bootstrap.pip_command(cache):
        pass

    assert ended.value.code == (
        f"bootstrap: {sys.executable} has no ensurepip (a part of Python that installs pip); "
        + remedy.format(*sys.version_info)
    )


@pytest.mark.system
def test_tools_are_installed_into_an_environment(bootstrap, checkout):
    cache = bootstrap.Cache(bootstrap.CHECKOUT)
    cache.dist.mkdir(parents=True)
    pins(checkout, make_wheel(cache.dist, "Tool", "1.0"), make_pip(cache.dist))

    home = bootstrap.make_tools(cache, [checkout / "profiles" / "tools.txt"], offline=True)

    assert subprocess.check_output([home / "bin" / "python", "-c", "import tool"]) == b""
    assert len(os.listdir(cache.eggs)) == 2


def test_tampered_tool_is_refused(bootstrap, checkout):
    cache = bootstrap.Cache(bootstrap.CHECKOUT)
    cache.dist.mkdir(parents=True)
    wheel = make_wheel(cache.dist, "Tool", "1.0")
    digest = sha256(wheel)
    pins(checkout, wheel, make_pip(cache.dist), digest="0" * 64)

    with pytest.raises(SystemExit) as ended:
        bootstrap.make_tools(cache, [checkout / "profiles" / "tools.txt"], offline=True)

    refused = cache.root / "refused" / wheel.name
    assert ended.value.code.startswith(
        f"bootstrap: {wheel}: expected SHA-256 {'0' * 64}, got {digest}; moved to {refused}."
    )
    assert ended.value.code.endswith("; run this again")
    assert not cache.environments.exists()


@pytest.mark.system
def test_missing_tool_is_one_line_offline(checkout, tmp_path):
    pins(checkout, Path("Tool-1.0-py3-none-any.whl"), digest="0" * 64)

    ended = subprocess.run(
        RUN,
        cwd=checkout,
        env={"HOME": str(tmp_path), "PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )

    assert ended.returncode == 1
    assert ended.stderr == (
        f"bootstrap: not in the cache {checkout}/cache/dist: tool==1.0; "
        "fetch them where there is a network with: python3 bootstrap.py\n"
    )


@pytest.mark.system
def test_help_states_the_words(checkout):
    command = [sys.executable, "-B", "bootstrap.py", "--help"]

    printed = subprocess.check_output(command, cwd=checkout, text=True)

    assert "usage: bootstrap.py [--offline] [-c FILE]" in printed


@pytest.mark.system
def test_script_works_from_a_path_with_spaces(bootstrap, checkout):
    path = bootstrap.write_script(
        bootstrap.CHECKOUT, "say", Path("/a b"), ["tools.txt"], ["print(sys.executable)"]
    )

    assert path == checkout / "bin" / "say"
    assert subprocess.check_output([path]) == b"/a b/bin/python\n"


@pytest.mark.system
def test_script_has_nothing_on_its_path_but_the_recipes_and_the_standard_library(bootstrap):
    statements = ["import os", "print(*sys.path, 'site' in sys.modules, sep='\\n')"]
    path = bootstrap.write_script(bootstrap.CHECKOUT, "say", Path("/a"), [], statements)

    recipes, *library, site = subprocess.check_output([path], text=True).splitlines()

    assert (recipes, site) == (str(bootstrap.RECIPES), "False")
    assert all(
        "python3" in Path(each).name or "lib-dynload" in each
        for each in library
        if each and not each.endswith(".zip")
    )


def test_script_that_is_right_is_not_written_again(bootstrap, checkout):
    path = bootstrap.write_script(bootstrap.CHECKOUT, "say", Path("/a"), [], ["print('works')"])
    before = path.stat()

    after = bootstrap.write_script(
        bootstrap.CHECKOUT, "say", Path("/a"), [], ["print('works')"]
    ).stat()

    # To compare it is to read it, which changes its atime.
    assert (after.st_ino, after.st_ctime_ns) == (before.st_ino, before.st_ctime_ns)
    assert os.listdir(path.parent) == ["say"]


def test_recipes_that_are_described_are_not_again(bootstrap, monkeypatch, tmp_path):
    def run(*_, **__):
        raise AssertionError("egg_info is slow")

    info = tmp_path / "recipes" / "pylonyard.egg-info"
    info.mkdir(parents=True)
    (info / "SOURCES.txt").touch()
    monkeypatch.setattr(bootstrap, "RECIPES", info.parent)
    monkeypatch.setattr(subprocess, "run", run)

    bootstrap.describe_recipes(Path(sys.executable))


def test_packages_are_reported_where_they_cannot_be_installed(
    bootstrap, checkout, capsys, monkeypatch
):
    (checkout / "tests").mkdir()
    (checkout / "tests" / "debian-packages.txt").write_text("no-such-package-at-all\n")
    folder = checkout / "programs"
    folder.mkdir()
    (folder / "dpkg-query").write_text("#!/bin/sh\necho 'cron installed'\n")
    (folder / "dpkg-query").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))

    bootstrap.install_debian_packages(offline=True)

    assert capsys.readouterr().out == (
        "bootstrap: tests that need these Debian packages will be skipped: no-such-package-at-all\n"
    )
