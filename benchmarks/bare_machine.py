#!/usr/bin/env python3
"""Type README's commands, as they stand there, on a bare Debian machine.

    python3 benchmarks/bare_machine.py                      all of it, on Debian 13
    python3 benchmarks/bare_machine.py first own --debian 12 --debian 13
    python3 benchmarks/bare_machine.py --suite --debian 12  the second command, as a user
    python3 benchmarks/bare_machine.py --suite --root -- tests/test_bootstrap.py
    python3 benchmarks/bare_machine.py --shell              look around in one

The machine is debootstrap's minbase with python3, python3-venv, git and curl, and an
ordinary user, in a folder; see bare_debian.py.  This checkout comes in by git, with its
uncommitted changes.  The commands are taken from the code blocks of README.md; what a
section asks to install ("Debian: ...") is installed first.  Parts:

    first       the first command; the site answers 200
    own         "Your own application": each that README shows
    apache      "Under Apache", by proxy and with mod_wsgi; the private Apache answers 200
    activate    the same two on port 80: activate --dry-run, activate, deactivate
    wheel       the page "In your own buildout", with the wheel of this checkout: deployed,
                served, restarted, rolled back, locked, without network, and as a bundle
    server      the page "On a real server", from its first line to its last, as root, with the
                Flask application of "Your own application"

Needs root, debootstrap and slirp4netns.  Exits with 0 if all went well, 1 if not, and 77
if it had to be skipped, saying what is lacking.
"""

import argparse
import contextlib
import dataclasses
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import bare_debian
import own_project
import pages
from bare_debian import USER, CommandFailed, Debian, Lacking
from bare_reader import README, Reader
from fresh_checkout import ROOT

SERVER = ROOT / "docs" / "on-a-real-server.rst"
OWN = ROOT / "docs" / "your-own-application.rst"
SKIPPED = 77


def first_commands(reader: Reader) -> None:
    reader.begin("first")
    reader.type(pages.blocks(README, "In this checkout")[0].lines)
    reader.type("bin/simplesite start")
    reader.expect("http://127.0.0.1:8080/")
    reader.type("bin/simplesite stop")


def applications() -> Iterator[list[pages.Block]]:
    """Yield the steps of README for each kind of application of your own."""
    shown = pages.blocks(README, "Your own application")
    for headings in dict.fromkeys(block.headings for block in shown):
        steps = [block for block in shown if block.headings == headings]
        configs = [block.text for block in steps if block.file == "buildout.cfg"]
        if any("extends" in text for text in configs):
            yield [block for block in steps if block.file or block.kind in pages.TYPED]


def own_application(reader: Reader) -> None:
    if not reader.folder:
        reader.begin("own")
    for steps in applications():
        for block in steps:
            if block.file:
                reader.write(block.file, block.text)
            else:
                reader.type(block.lines)


@contextlib.contextmanager
def by_mod_wsgi(reader: Reader) -> Iterator[None]:
    """Let Apache run the application, as README says, and then its own server again."""
    path = "buildout.cfg"
    before = reader.debian.path(f"{reader.folder}/{path}").read_text()
    reader.write(path, before.replace("[site]\n", "[site]\nmode = mod_wsgi\n", 1))
    reader.type("bin/buildout")
    yield
    reader.write(path, before)


def apache(reader: Reader) -> None:
    reader.install("Under Apache")
    reader.begin("apache")
    reader.type("python3 bootstrap.py")
    reader.type(pages.blocks(README, "Under Apache")[0].lines)
    reader.expect("http://127.0.0.1:8880/")
    reader.type("bin/simplesite-httpd stop\nbin/simplesite stop")
    with by_mod_wsgi(reader):
        reader.type("bin/simplesite-httpd start")
        reader.expect("http://127.0.0.1:8880/")
        reader.type("bin/simplesite-httpd stop")


def activate(reader: Reader) -> None:
    reader.install("Under Apache")
    reader.begin("activate")
    reader.type("python3 bootstrap.py")
    _on_port_80(reader)
    with by_mod_wsgi(reader):
        _on_port_80(reader)


def _on_port_80(reader: Reader) -> None:
    (lines,) = (
        block.lines
        for block in pages.blocks(README, "Under Apache")
        if "bin/pylonyard activate\n" in block.lines
    )
    reader.type(lines)
    reader.expect("http://127.0.0.1/")
    reader.type("sudo bin/pylonyard deactivate")
    _expect_nothing_in_etc(reader)


def _expect_nothing_in_etc(reader: Reader, site: str = "simplesite") -> None:
    left = [
        *reader.debian.path("/etc").glob(f"*/{site}"),
        *reader.debian.path("/etc/apache2").glob(f"*/{site}.conf"),
    ]
    if left:
        raise CommandFailed(f"deactivate: expected nothing of the site in /etc, got: {left}")


def server(reader: Reader, wheels: str = "") -> None:
    """Do what the page "On a real server" says, as root; the site is in ``/srv``.

    :param wheels: a folder of the machine whose files need not be downloaded again
    """
    # What is printed is looked at, so that it is shown afterwards.
    reader = Reader(dataclasses.replace(reader.debian, shows=False), "root")
    _prepare_repository(reader)
    for block in pages.blocks(SERVER):
        if block.file:
            reader.write(block.file, block.text)
        elif block.kind in pages.TYPED:
            if "Updating the application" in block.headings and "git pull" in block.lines:
                reader.debian.type(CHANGE, folder=REPOSITORY)
            began = time.monotonic()
            said = reader.type(block.lines)
            took = f"({time.monotonic() - began:.1f} s)"
            print(block.lines, said, took, sep="", flush=True)
            _check_promises(reader, block, said)
            # A shell stays where it went.
            for folder in re.findall(r"(?m)^cd (\S+)$", block.lines):
                reader.folder = folder
            if wheels and "git clone" in block.lines:
                reader.type(f"mkdir cache && cp -r {wheels} cache/dist")


REPOSITORY = "/usr/src/hello"
COMMIT = """
git add --all
git -c user.name=nobody -c user.email=nobody@localhost commit --quiet --message Change
"""
CHANGE = f"sed -i 's/Good morning/Good evening/' src/hello/hello.py{COMMIT}"
"""The change in the site's repository that an update brings."""


def _prepare_repository(reader: Reader) -> None:
    """Make what the page does not speak of: a repository, and that the name leads here."""
    reader.folder = reader.debian.clone(REPOSITORY)
    for block in pages.blocks(OWN, "Flask"):
        if block.file:
            reader.write(block.file, block.text)
    reader.type(COMMIT)
    address = next(re.finditer(r"https://\S+", SERVER.read_text(encoding="utf-8")))[0]
    reader.type(f"git config --global url.{REPOSITORY}.insteadOf {address}")
    with reader.debian.path("/etc/hosts").open("a") as hosts:
        hosts.write("127.0.0.1 www.example.org\n")
    reader.debian.let_services_start()


def _check_promises(reader: Reader, block: pages.Block, said: str) -> None:
    """Fail unless the page's promises hold after a block."""
    last = said.strip().rpartition("\n")[2]
    if block.lines.endswith("bin/pylonyard activate\n"):
        wanted = "# hello: open http://www.example.org/ (visited just now: it answers 200)"
        if last != wanted:
            raise CommandFailed(f"activate: expected its last line to be {wanted!r}, got {last!r}")
        evening = "The first release" not in block.headings
        page = reader.debian.visit("http://127.0.0.1/", "www.example.org")[1]
        if f"Good {'evening' if evening else 'morning'}. Visits" not in page:
            raise CommandFailed(f"activate: expected the page of this release, got {page!r}")
        owner = reader.debian.type("stat -c %U:%a /srv/hello/var/data/hello").stdout
        if owner != "hello:750\n":
            raise CommandFailed(f"var/data/hello: expected hello:750, got {owner}")
    if "bootstrap.py -c" in block.lines and "activate" not in (
        advised := reader.type("bin/pylonyard doctor")
    ):
        raise CommandFailed(f"doctor: expected the activation as the next step, got {advised!r}")
    if "rollback" in block.lines and "Release 1 is current, and active." not in said:
        raise CommandFailed(f"rollback: expected to go to release 1, got {said!r}")
    if "deactivate" in block.lines:
        _expect_nothing_in_etc(reader, "hello")


def wheel(reader: Reader, file: Path | None = None) -> None:
    """Make projects of somebody's own, and deploy them from a wheel of Pylonyard.

    :param file: the wheel; if not given, this checkout's is made in the machine
    """
    if not file:
        reader.begin("checkout")
        reader.type("python3 bootstrap.py dist")
        (file,) = reader.debian.path(f"{reader.folder}/dist").glob("*.whl")
    path = own_project.bring(reader, file)
    own_project.made_for_you(reader, path)
    own_project.by_hand(reader, path)


PARTS: dict[str, Callable[[Reader], None]] = {
    "first": first_commands,
    "own": own_application,
    "apache": apache,
    "activate": activate,
    "wheel": wheel,
    "server": server,
}
FOR_USERS = ("apache", "activate")
"""Parts for an ordinary user, who becomes root for single lines."""


def suite(reader: Reader, words: list[str]) -> None:
    """Run the tests, by README's second command; words are pytest's."""
    reader.begin("suite")
    reader.type(f"{pages.blocks(README, 'In this checkout')[1].lines.strip()} {shlex.join(words)}")


def shell(debian: Debian) -> None:
    """Give whoever is at the terminal a shell of root's."""
    debian.clone(f"/home/{USER}/pylonyard", USER)
    print(f"root's shell; the checkout is /home/{USER}/pylonyard; 'su - {USER}' makes you its user")
    subprocess.run([*debian.enter, "env", "HOME=/root", "bash", "--login"])


def run_parts(debian: Debian, release: int, options: argparse.Namespace) -> bool:
    """Do the parts one after another; return whether all went well."""
    reader = Reader(debian, "root" if options.root else USER)
    done = {name: PARTS[name] for name in options.parts or PARTS}
    if options.wheel:
        done["wheel"] = lambda reader: wheel(reader, options.wheel)
    if options.suite:
        done = {"suite": lambda reader: suite(reader, options.words)}
    output, well = [], True
    for name, part in done.items():
        if options.root and name in FOR_USERS:
            output.append(f"{name}: skipped: README has an ordinary user do that")
            continue
        began = time.monotonic()
        try:
            part(reader)
            outcome = "passed"
        except CommandFailed as error:
            print(error, file=sys.stderr)
            outcome, well = "FAILED", False
        output.append(f"{name}: {outcome}, {time.monotonic() - began:.0f} s")
    for line in output:
        print(f"Debian {release}, as {reader.user}: {line}", flush=True)
    return well


def arguments(words: list[str]) -> argparse.Namespace:
    end = words.index("--") if "--" in words else len(words)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument(
        "--debian",
        type=int,
        action="append",
        choices=sorted(bare_debian.RELEASES),
        help="which Debian; 13 by default; may be given again",
    )
    parser.add_argument("--root", action="store_true", help="type as root, not as a user")
    parser.add_argument(
        "--suite", action="store_true", help="run the tests; what follows -- is pytest's"
    )
    parser.add_argument(
        "--wheel",
        type=Path,
        metavar="FILE",
        help="for the part wheel: the one to deploy from, such as that in dist",
    )
    parser.add_argument("--shell", action="store_true", help="open a shell in the machine")
    parser.add_argument(
        "--folder",
        type=Path,
        default=bare_debian.FOLDER,
        help="where the bases are kept, 300 MB each (%(default)s)",
    )
    parser.add_argument(
        "--mirror", default="", help="of Debian; by default the one that apt uses here"
    )
    options = parser.parse_args(words[:end])
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"expected parts among {', '.join(PARTS)}, got: {', '.join(unknown)}")
    options.words = words[end + 1 :]
    return options


def main() -> int:
    options = arguments(sys.argv[1:])
    well = True
    for release in options.debian or [13]:
        try:
            with bare_debian.machine(release, options.folder, options.mirror, True) as debian:
                if options.shell:
                    shell(debian)
                else:
                    well = run_parts(debian, release, options) and well
        except Lacking as error:
            print(f"Debian {release}: skipped: {error}", file=sys.stderr)
            return SKIPPED
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
