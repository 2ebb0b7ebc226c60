"""A project of somebody's own on a bare machine: the page "In your own buildout", typed.

Pylonyard comes as a wheel, and zc.buildout is the stock one.  The site must answer, be
restarted, rolled back, locked, run without a network, and go elsewhere as a bundle.
"""

import dataclasses
import re
import shlex
import shutil
from pathlib import Path

import pages
from bare_debian import CommandFailed
from bare_reader import Reader
from fresh_checkout import ROOT
from pages import Block

PAGE = ROOT / "docs" / "in-your-own-buildout.rst"
WHEELS = "/usr/src/wheels"
SITE = "http://127.0.0.1:8080/"


def bring(reader: Reader, wheel: Path) -> str:
    """Copy the file of Pylonyard into the machine, and return its path there."""
    folder = reader.debian.path(WHEELS)
    folder.mkdir(exist_ok=True)
    shutil.copy(wheel, folder)
    return f"{WHEELS}/{wheel.name}"


def made_for_you(reader: Reader, wheel: str) -> None:
    """Have ``pylonyard init`` make a project, and type what the project's README has tried.

    :param wheel: what :func:`bring` has returned
    """
    _begin(reader, "quill")
    _follow(reader, wheel, "A project made for you")
    reader.type(f"PIP_FIND_LINKS={WHEELS} .ci/run")


def by_hand(reader: Reader, wheel: str, wheels: str = "") -> None:
    """Write the page's project, and do all with it that the page speaks of.

    :param wheel: what :func:`bring` has returned
    :param wheels: a folder of the machine that has all the others; by default, the index has
    """
    index = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": wheels} if wheels else {}
    reader = dataclasses.replace(reader, environ=index)
    _begin(reader, "by-hand")
    if wheels:
        reader.type(f"mkdir cache\ncp -r {shlex.quote(wheels)} cache/dist")
    _follow(reader, wheel, "By hand")
    _release_and_go_back(reader)
    _lock_and_run_offline(reader)
    _go_elsewhere(reader)


def _begin(reader: Reader, name: str) -> None:
    reader.folder = f"{reader.home}/{name}"
    reader.debian.type(f"mkdir {shlex.quote(reader.folder)}", reader.user)


def _follow(reader: Reader, wheel: str, heading: str) -> None:
    """Write the files and type the lines below a heading; the wheel stands for its name."""
    for block in pages.blocks(PAGE, heading):
        if block.file:
            reader.write(block.file, block.text)
        elif block.kind in pages.TYPED:
            installed = f"buildout {shlex.quote(wheel)}\n"
            reader.type(block.lines.replace("buildout pylonyard\n", installed))


def _typed(heading: str) -> list[Block]:
    return [block for block in pages.blocks(PAGE, heading) if block.kind in pages.TYPED]


def _release_and_go_back(reader: Reader) -> None:
    deploy, back = _typed("The next release")
    reader.type("bin/quill start\nsed -i s/morning/evening/ quill.py")
    reader.type(deploy.lines)
    reader.expect(SITE, text="Good evening.\n")
    reader.type(back.lines)
    reader.expect(SITE, text="Good morning.\n")
    reader.type("bin/quill stop")


def _lock_and_run_offline(reader: Reader) -> None:
    lock, _ = _typed("A bundle")
    (run,) = _typed("Without network")
    reader.type(lock.lines)
    reader.type(r"sed -i 's/^\[app\]$/&\nlock = profiles\/pylock.toml/' buildout.cfg")
    _serve_offline(reader, run.lines)


def _serve_offline(reader: Reader, lines: str) -> None:
    """Type lines that make a release, and visit it, all without a network."""
    alone = dataclasses.replace(reader, debian=reader.debian.without_network())
    visited = f"curl {SITE} > ../served"
    alone.type(
        f"{lines}bin/quill start\n{visited}\nbin/quill stop\ngrep '^Good evening.$' ../served"
    )


def _go_elsewhere(reader: Reader) -> None:
    """Make a bundle, and deploy it in another folder when the project is gone."""
    _, made = _typed("A bundle")
    run, bundle = made.lines.splitlines()
    reader.type(run)
    fetch = re.findall(r"with: (bin/pylonyard fetch .*)", reader.listen(f"{bundle} || true"))
    if not fetch:
        raise CommandFailed(f"{bundle}: expected it to name what to fetch first")
    reader.type(f"{fetch[0]} --find-links {WHEELS}")
    elsewhere = re.findall(r"(?m)^.*Elsewhere: (.*)", reader.listen(bundle))
    if not elsewhere:
        raise CommandFailed(f"{bundle}: expected its last line to say what to type elsewhere")
    reader.type("mkdir ../elsewhere\nmv quill.tar.gz ../elsewhere\nrm -r ../by-hand")
    reader.folder = f"{reader.home}/elsewhere"
    _serve_offline(reader, f"{elsewhere[0]}\n")
