"""The command ``bin/buildout`` of a project that has none."""

import subprocess

import pytest
from pylonyard.buildout.main import make_command


@pytest.fixture
def program(tmp_path):
    """Return a buildout that pip, say, has installed: it prints its arguments."""
    path = tmp_path / "an env" / "bin" / "buildout"
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\necho ran: $*\n")
    path.chmod(0o755)
    return path


def test_project_without_a_buildout_gets_one(tmp_path, program):
    folder = tmp_path / "bin"

    make_command(folder, str(program))
    make_command(folder, str(program))

    ran = subprocess.run([folder / "buildout", "-o", "a b"], capture_output=True, text=True)
    assert ran.stdout == "ran: -o a b\n"


def test_it_runs_the_one_that_ran_last(tmp_path, program):
    make_command(tmp_path / "bin", str(program))
    moved = program.parent.parent.rename(tmp_path / "other") / "bin" / "buildout"

    make_command(tmp_path / "bin", str(moved))

    assert subprocess.run([tmp_path / "bin" / "buildout"], capture_output=True).returncode == 0


@pytest.mark.parametrize("make", ["file", "link", "itself"])
def test_another_one_stays(tmp_path, program, make):
    place = tmp_path / "bin" / "buildout"
    place.parent.mkdir()
    if make == "link":
        place.symlink_to("nowhere")
    elif make == "file":
        place.write_text("mine")
    else:
        place.hardlink_to(program)

    make_command(place.parent, str(place if make == "itself" else program))

    assert place.is_symlink() == (make == "link")
    if make != "link":
        assert place.read_text() == (program.read_text() if make == "itself" else "mine")


def test_another_program_is_not_taken_for_it(tmp_path, program):
    make_command(tmp_path / "bin", str(program.rename(program.with_name("pytest"))))

    assert not (tmp_path / "bin").exists()
