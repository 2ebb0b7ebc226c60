"""Fixtures of the system tests: fresh checkouts that share one cache, free ports."""

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import ports
import pytest
from checkouts import CACHE, ROOT, WORKER, Checkout, copy_checkout
from hypothesis.configuration import set_hypothesis_home_dir

# What it keeps between runs stands where git does not look.
set_hypothesis_home_dir(ROOT / ".pytest_cache" / "hypothesis")


LOCK = "profiles/pylock.toml"


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a BUILDOUT_HOME whose default.cfg shares ``CACHE``.

    It has all that the default site and its bundle need; this repository's cache as well,
    where the benchmarks look for it.
    """
    home = buildout_home(tmp_path_factory.mktemp("buildout-home"), ROOT / "cache")
    site = Checkout(tmp_path_factory.mktemp("filling"), environ_of(home))
    copy_checkout(site.path)
    (module,) = re.findall(r"/(mod_wsgi-[^/]+\.tar\.gz)", (ROOT / LOCK).read_text())
    (ROOT / ".pytest_cache").mkdir(exist_ok=True)
    with (ROOT / ".pytest_cache" / "filling.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        site.bootstrap()
        site.bootstrap("fetch", "--lock", LOCK, module)
    if CACHE == ROOT / "cache":
        return home
    shutil.copytree(ROOT / "cache" / "dist", CACHE / "dist", dirs_exist_ok=True)
    return buildout_home(home, CACHE)


def buildout_home(folder: Path, cache: Path) -> Path:
    """Write the ``default.cfg`` that names the shared cache."""
    # Root's own account serves in development alone; a file that says more overrides it.
    environment = "" if os.geteuid() else "[site]\nenvironment = development\n"
    (folder / "default.cfg").write_text(
        f"[buildout]\ndownload-cache = {cache}\neggs-directory = {cache}/eggs\n{environment}"
    )
    return folder


def environ_of(home: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "PYTHON", "COV"))}
    return {**kept, "BUILDOUT_HOME": str(home)}


@pytest.fixture(scope="session")
def clean_environ(shared_cache: Path) -> dict[str, str]:
    return environ_of(shared_cache)


LEFT_BY_RUNS = [
    ".installed.cfg",
    "recipes/pylonyard/recipes/__pycache__/template-1.cache",
    "src/simplesite/pylonyard_simplesite.egg-info/PKG-INFO",
    "tests/__pycache__/conftest.pyc",
]
"""Files that are in no distribution."""


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory, clean_environ: dict[str, str]) -> Path:
    """Return the folder with a source distribution, and the wheel that was made from it.

    They are made and checked once for all workers of a run.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if WORKER else base) / "distributions"
    with folder.with_suffix(".lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not folder.exists():
            site = Checkout(tmp_path_factory.mktemp("distributed"), clean_environ)
            copy_checkout(site.path)
            for name in LEFT_BY_RUNS:
                (site.path / name).parent.mkdir(exist_ok=True)
                (site.path / name).touch()
            output = site.bootstrap("dist").stdout
            assert "Final rating: 10/10" in output
            assert output.count("PASSED") == 2
            (site.path / "dist").rename(folder)
    return folder


@pytest.fixture
def checkout(tmp_path: Path, clean_environ: dict[str, str]) -> Iterator[Callable[..., Checkout]]:
    """Give a function that makes a fresh checkout; its servers end with the test."""
    made: list[Checkout] = []

    def make(name: str = "checkout", **environ: str) -> Checkout:
        path = tmp_path / name
        path.mkdir(parents=True)
        copy_checkout(path)
        made.append(Checkout(path, {**clean_environ, **environ}))
        return made[-1]

    yield make
    for each in made:
        each.stop_all()


@pytest.fixture(scope="session")
def public_folder(shared_cache: Path) -> Iterator[Path]:
    """Return a folder with a short path that every account can enter, and its own cache.

    What pytest gives belongs to root alone, and sockets need short paths.
    """
    folder = Path(tempfile.mkdtemp(prefix="py", dir="/tmp"))
    folder.chmod(0o755)
    dist = folder / "cache" / "dist"
    dist.mkdir(parents=True)
    for wheel in (CACHE / "dist").iterdir():
        shutil.copy2(wheel, dist)
    (folder / "home").mkdir()
    buildout_home(folder / "home", folder / "cache")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def public_checkout(
    public_folder: Path, clean_environ: dict[str, str]
) -> Iterator[Callable[..., Checkout]]:
    """Give a function that makes a fresh checkout which other accounts can read.

    Debian's own interpreter runs it: one below /root would be out of their reach.
    """
    made: list[Checkout] = []

    def make(**environ: str) -> Checkout:
        if os.geteuid():
            pytest.skip("lacks root, who alone may start servers as another account")
        if not Path("/usr/bin/python3").exists():
            pytest.skip("lacks /usr/bin/python3")
        path = Path(tempfile.mkdtemp(prefix="c", dir=public_folder))
        path.chmod(0o755)
        copy_checkout(path)
        own = {**clean_environ, "BUILDOUT_HOME": str(public_folder / "home"), **environ}
        made.append(Checkout(path, own, python="/usr/bin/python3"))
        return made[-1]

    yield make
    for each in made:
        each.stop_all()


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    return ports.free_port
