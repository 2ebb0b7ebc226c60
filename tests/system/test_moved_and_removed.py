"""A site whose sandbox was moved or copied, or whose interpreter was removed, as it serves."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from checkouts import Checkout, copy_checkout, fetch

pytestmark = pytest.mark.system

DEBIANS = Path("/usr/bin/python3")


@pytest.fixture(scope="module")
def made(tmp_path_factory, clean_environ, free_port):
    """A site by an interpreter of its own, and where it answers; each test leaves it whole."""
    if not DEBIANS.exists():
        pytest.skip(f"lacks {DEBIANS}")
    folder = tmp_path_factory.mktemp("sandboxes")
    python = folder / "interpreter" / DEBIANS.resolve().name
    python.parent.mkdir()
    shutil.copy2(DEBIANS.resolve(), python)  # it finds its library where it was built for
    site, port = Checkout(folder / "before", clean_environ, str(python)), free_port()
    site.path.mkdir()
    copy_checkout(site.path)
    # Without its log, the server of a sandbox that was moved does not end by itself.
    site.bootstrap(f"site:port={port}", "init:stop-timeout=2")
    yield site, port, python
    site.stop_all()


@pytest.fixture
def serving(made):
    made[0].control("simplesite", "start")
    return made


def speed_up(site: Checkout) -> None:
    """Have nobody wait long for a server that does not answer, as its files were moved."""
    described = site.path / "current/simplesite/server.json"
    values = json.loads(described.read_text()) | {"hang-timeout": 1, "hang-tries": 1}
    described.chmod(0o644)
    described.write_text(json.dumps(values))


def at(site: Checkout, folder: str) -> Checkout:
    return Checkout(site.path.parent / folder, site.environ, site.python, site.controls)


def ended(site: Checkout, script: str, *words: str) -> tuple[int, str]:
    finished = site.run(f"bin/{script}", *words, check=False)
    output = finished.stdout.splitlines(keepends=True)
    return finished.returncode, "".join(line for line in output if "runs as root" not in line)


def test_doctor_works_where_current_leads_nowhere(serving):
    site, _, _ = serving
    current = site.path / "current"
    current.unlink()
    current.symlink_to("releases/7")

    code, doctor = ended(site, "pylonyard", "doctor")

    assert code == 1
    assert f"FAIL  release             {current} leads to no release\n" in doctor
    assert "-> bin/pylonyard rollback 1\n" in doctor
    assert ended(site, "pylonyard", "rollback", "1")[0] == 0
    assert "running, process" in ended(site, "simplesite", "status")[1]


def test_site_whose_interpreter_was_removed_is_asked_and_stopped(serving):
    site, port, python = serving
    python.unlink()

    assert "running, process" in ended(site, "simplesite", "status")[1]
    code, output = ended(site, "simplesite", "restart")
    assert (code, output) == (
        5,
        f"simplesite: {python}, which runs the site, was removed: "
        "run there: python3 bootstrap.py\n",
    )
    assert fetch(f"http://127.0.0.1:{port}/")[0] == 200
    code, doctor = ended(site, "pylonyard", "doctor")
    assert f"FAIL  tools               {python}, which it was made for, was removed\n" in doctor
    assert code == 1
    output = f"buildout: {python}, which it was made for, was removed"
    assert ended(site, "buildout") == (1, f"{output}; run: python3 bootstrap.py\n")
    assert ended(site, "simplesite", "stop") == (0, "simplesite: stopped\n")

    site.python = str(DEBIANS)
    site.bootstrap(f"site:port={port}")
    assert "started" in site.control("simplesite", "start")


def test_moved_sandbox_is_stopped_and_a_copy_stops_no_other(serving):
    site, port, _ = serving
    speed_up(site)
    copy, moved = at(site, "copy"), at(site, "after")
    subprocess.run(["cp", "-a", site.path, copy.path], check=True)

    refused = f"{copy.path} is a copy of {site.path}: run there: python3 bootstrap.py\n"
    for action in ("stop", "restart", "status", "ensure"):
        code = 4 if action == "status" else 6
        assert ended(copy, "simplesite", action) == (code, f"simplesite: {refused}")
    assert ended(copy, "simplesite-httpd", "stop") == (6, f"simplesite-httpd: {refused}")
    assert ended(copy, "buildout") == (1, f"buildout: {refused}")
    assert fetch(f"http://127.0.0.1:{port}/")[0] == 200

    site.path.rename(moved.path)

    # That of which it is a copy is gone, but its server is still another's.
    assert ended(copy, "simplesite", "stop") == (0, "simplesite: not running\n")
    output = f"{moved.path} was moved here from {site.path}: run there: python3 bootstrap.py\n"
    assert ended(moved, "simplesite", "restart") == (6, f"simplesite: {output}")
    assert ended(moved, "pylonyard", "rollback") == (1, f"pylonyard: {output}")
    assert ended(moved, "buildout") == (1, f"buildout: {output}")
    code, doctor = ended(moved, "pylonyard", "doctor")
    assert code == 1
    assert f"FAIL  sandbox             {moved.path} was moved here from {site.path}\n" in doctor
    assert "running, process" in doctor

    moved.bootstrap(f"site:port={port}")
    assert "restarted" in moved.control("simplesite", "restart")
    assert fetch(f"http://127.0.0.1:{port}/")[0] == 200

    moved.path.rename(site.path)
    linked = at(site, "link")
    linked.path.symlink_to(site.path)
    assert ended(linked, "simplesite", "stop") == (0, "simplesite: stopped\n")
    assert ended(linked, "simplesite", "status") == (3, "simplesite: stopped\n")
