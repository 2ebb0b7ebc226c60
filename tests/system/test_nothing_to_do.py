"""Buildout skips a run only if nothing has changed."""

import os

import pytest
from checkouts import CACHE

pytestmark = pytest.mark.system

WHOLE = "Updating release."
SPARED = "nothing has changed."


def rewrite(path):
    """Change a file so that neither its size nor its time of modification tells."""
    before = path.stat()
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b" ")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return lambda: path.write_bytes(content)


def removed(path):
    aside = path.with_name(f".aside-{path.name}")
    path.rename(aside)
    return lambda: aside.rename(path) if not os.path.lexists(path) else None


def added(path):
    path.write_text("")
    return lambda: path.unlink(missing_ok=True)


def one_of(folder, pattern):
    return sorted(path for path in folder.glob(pattern) if path.is_file())[0]


CHANGES = {
    "configuration": lambda path: (path / "buildout.cfg").touch,
    "configuration it extends": lambda path: (path / "profiles/base.cfg").touch,
    "user's defaults": lambda path: (path.parent / "home/default.cfg").touch,
    "lock": lambda path: (path / "profiles/pylock.toml").touch,
    "recipe": lambda path: (path / "recipes/pylonyard/config/converters.py").touch,
    "template": lambda path: (path / "recipes/pylonyard/recipes/site.conf.j2").touch,
    "project's metadata": lambda path: (path / "src/simplesite/pyproject.toml").touch,
    "record": lambda path: (path / ".installed.cfg").touch,
    "staged file": lambda path: lambda: removed(path / "parts/cron/etc/cron.d/simplesite"),
    "released file": lambda path: lambda: rewrite(path / "current/simplesite/production.ini"),
    "released file gone": lambda path: lambda: removed(path / "current/etc/init.d/simplesite"),
    "manifest": lambda path: lambda: rewrite(path / "current/manifest.json"),
    "script": lambda path: lambda: removed(path / "bin/simplesite"),
    "live link": lambda path: lambda: removed(path / "current"),
    "secret": lambda path: one_of(path, "var/secrets/simplesite/*").touch,
    "egg": lambda path: lambda: rewrite(one_of(path, "own/**/webob/request.py")),
    "extra file in the sandbox": lambda path: (
        lambda: added(
            one_of(path, "current/simplesite/env/lib/*/site-packages/*.pth").with_name("x.pth")
        )
    ),
}


def serve(site):
    """Have the site write its log and its data."""
    site.run("bin/simplesite", "start")
    site.run("bin/simplesite", "stop")


def test_a_run_is_spared_only_if_nothing_at_all_has_changed(checkout, free_port):
    site = checkout()
    home = site.path.parent / "home"
    home.mkdir()
    (home / "default.cfg").write_text(
        f"[buildout]\ndownload-cache = {CACHE}\neggs-directory = {site.path}/own\n"
    )
    site.environ = {**site.environ, "BUILDOUT_HOME": str(home)}
    words = [f"site:port={free_port()}"]
    site.bootstrap(*words)
    serve(site)
    wrong = []
    for what, change in CHANGES.items():
        # Another run may add to the cache that all share: then there is one more to be done.
        before = [site.buildout(*words).stdout for _ in range(2)]
        if SPARED not in before[-1] or WHOLE in before[-1]:
            wrong.append(f"before {what}: {before}")
        if what == "configuration":
            serve(site)
            assert SPARED in (output := site.buildout(*words).stdout) and WHOLE not in output, (
                output
            )
        undo = change(site.path)()
        output = site.buildout(*words, check=False).stdout
        if SPARED in output and WHOLE not in output:
            wrong.append(f"{what}: {output}")
        if undo:
            undo()
            site.buildout(*words)
    print(f"{len(CHANGES) - len(wrong)} of {len(CHANGES)} changes took a whole run")
    assert wrong == []
