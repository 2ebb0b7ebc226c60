import subprocess
import sys

import pytest
from pylonyard.environments import eggs_venv, tools
from pylonyard.packages import integrity, wheels
from support import make_wheel


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Two tools in an environment, located: their eggs by name, the environment, the cache."""
    dist = tmp_path / "cache" / "dist"
    dist.mkdir(parents=True)
    made = [make_wheel(dist, name, files={f"{name}.py": ""}) for name in ("shop_a", "shop_b")]
    digests = {wheel: {wheels.sha256(wheel)} for wheel in made}
    eggs = integrity.Verified(tmp_path / "cache").install_all(digests, tmp_path / "eggs")
    lines = [f"{w.name[:6].replace('_', '-')}==1.0 --hash=sha256:{min(digests[w])}" for w in made]
    (tmp_path / "tools.txt").write_text("\n".join(lines))
    home = eggs_venv.make(tmp_path / "cache" / "sandboxes", eggs)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "argv", ["bin/buildout"])
    monkeypatch.setattr(sys, "executable", sys.executable)
    tools.set_environment(str(home), str(tmp_path / "tools.txt"))
    yield dict(zip("ab", eggs, strict=True)), home, tmp_path / "cache"
    tools._environments.clear()


def refused(cache):
    """Import the tools; return the line that ends this process, and the quarantined files."""
    with pytest.raises(SystemExit) as ended:
        tools.load()
    (aside,) = (cache / "refused").iterdir()
    return ended.value.code, aside


def test_tools_are_imported_in_order_and_others_start_their_environment(installed):
    eggs, home, _ = installed

    tools.load()

    assert sys.path == [str(eggs["a"]), str(eggs["b"])]
    assert sys.executable == str(home / "bin" / "python")
    tools.load()
    assert len(sys.path) == 2


@pytest.mark.system
def test_tool_is_compared_with_the_wheel_that_it_was_made_of(installed):
    eggs, _, cache = installed
    (cache / "other").mkdir()
    other = make_wheel(cache / "other", "shop_a", files={"shop_a.py": "of another Python"})
    other = other.rename(cache / "dist" / "shop_a-1.0-cp27-cp27m-linux.whl")
    listed = cache.parent / "tools.txt"
    line, more = listed.read_text().split("\n", 1)
    listed.write_text(f"{line} --hash=sha256:{wheels.sha256(other)}\n{more}")
    for notes in (cache / "verified").iterdir():
        notes.unlink()

    tools.load()

    assert sys.path == [str(eggs["a"]), str(eggs["b"])]


def test_only_what_is_needed_is_brought(installed):
    (installed[0]["a"] / "shop_a.py").write_text("evil")

    tools.load("shop-b")

    assert sys.path == [str(installed[0]["b"])]


def test_program_that_was_started_with_its_tools_needs_none(monkeypatch):
    monkeypatch.setattr(sys, "path", before := list(sys.path))

    tools.load()

    assert sys.path is before


def test_tampered_tool_ends_the_program(installed):
    eggs, _, cache = installed
    (eggs["b"] / "evil.pth").write_text("import os")

    output, aside = refused(cache)

    assert output == (
        f"buildout: {eggs['b']}/evil.pth: expected a file of shop_b-1.0-py3-none-any.whl, "
        f"got one that it lacks; moved to {aside}; run: python3 bootstrap.py"
    )
    assert not (eggs["b"] / "evil.pth").exists(), "a good one is in its place"


def test_tool_without_a_wheel_to_compare_it_with_ends_the_program(installed):
    eggs, _, cache = installed
    (eggs["a"] / "shop_a.py").write_text("evil")
    for wheel in (cache / "dist").iterdir():
        wheel.unlink()

    with pytest.raises(SystemExit) as ended:
        tools.load()

    assert ended.value.code == (
        f"buildout: {eggs['a']}: expected its wheel in {cache}/dist, with a SHA-256 that is "
        "recorded, got none; run: python3 bootstrap.py"
    )


@pytest.mark.system
@pytest.mark.parametrize("name", ["evil.pth", "sitecustomize.py"])
def test_file_that_was_put_into_the_environment_ends_the_program(installed, name):
    _, home, cache = installed
    path = eggs_venv.site_packages(home) / name
    path.write_text("import os")

    output, aside = refused(cache)

    assert output == (
        f"buildout: {path}: expected no such file, got one; moved to {aside}; "
        "run: python3 bootstrap.py"
    )
    subprocess.run([home / "bin" / "python", "-c", "import shop_a, shop_b"], check=True)
    assert not path.exists()


def test_other_eggs_in_the_environment_end_the_program(installed, tmp_path):
    _, home, cache = installed
    path = eggs_venv.site_packages(home) / eggs_venv.PTH
    path.write_text(f"{tmp_path}/evil-1.0.egg\n")

    output, aside = refused(cache)

    assert output == (
        f"buildout: {path}: expected the lines that {home.name} stands for, got others; "
        f"moved to {aside}; run: python3 bootstrap.py"
    )


def test_missing_environment_ends_the_program(installed):
    _, home, _ = installed
    home.rename(home.with_name("moved"))

    with pytest.raises(SystemExit) as ended:
        tools.load()

    path = f"{home}/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    assert ended.value.code == (
        f"buildout: {path}/pylonyard.pth: expected an environment, got none; "
        "run: python3 bootstrap.py"
    )
