"""README's commands, typed on a bare Debian 13; ``benchmarks/bare_machine.py`` does the rest."""

import bare_debian
import bare_machine
import own_project
import pytest

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def reader():
    """Somebody at a machine that has nothing but what README asks for."""
    try:
        bare_debian.need()
        with bare_debian.machine(13) as debian:
            yield bare_machine.Reader(debian)
    except bare_debian.Lacking as lacking:
        pytest.skip(str(lacking))


@pytest.fixture(scope="module")
def wheels(reader):
    """Return the machine's folder of what README's first command has downloaded."""
    folder = f"{reader.home}/first/cache/dist"
    if not reader.debian.path(folder).exists():
        bare_machine.first_commands(reader)
    return folder


def test_the_machine_has_its_own_users_processes_names_and_network(reader):
    printed = reader.debian.type(
        f"id -un\nhostname\ngrep -c ^{bare_debian.USER}: /etc/passwd\n"
        "ls -d /proc/[0-9]* | wc -l\nls /sys/class/net | xargs",
        bare_debian.USER,
    ).stdout

    user, name, entries, processes, network = printed.splitlines()
    assert (user, name, entries, network) == (bare_debian.USER, "bare", "1", "lo tap0")
    assert int(processes) < 10


def test_a_line_that_fails_is_reported_with_all_that_was_printed(reader):
    with pytest.raises(
        bare_debian.CommandFailed, match=r"^somebody: echo so\nfalse\necho on\nexited 1:\nso\n$"
    ):
        reader.debian.type("echo so\nfalse\necho on\n", bare_debian.USER)

    assert reader.debian.visit("http://127.0.0.1:1/")[0] == 0


def test_the_first_command_ends_in_a_site_that_answers(reader):
    bare_machine.first_commands(reader)


def test_one_s_own_application_is_served_as_readme_shows(reader):
    bare_machine.own_application(reader)


def test_a_foreign_project_is_deployed_from_the_wheel_and_lives(reader, wheels, distributions):
    (wheel,) = distributions.glob("*.whl")

    own_project.by_hand(reader, own_project.bring(reader, wheel), wheels)


def test_a_bare_machine_becomes_a_production_server_as_documented(reader, wheels):
    archives = bare_debian.FOLDER / "archives-13"
    reader.debian.speed_up_apt(archives)

    bare_machine.server(reader, wheels)

    reader.debian.keep_archives(archives)
