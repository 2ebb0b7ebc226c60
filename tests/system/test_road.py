"""From development to production and back in one checkout, with real runs and activations."""

import copy
import os
import shlex
import shutil

import machines
import pytest
from checkouts import Checkout, copy_checkout
from next_lines import PRODUCTION, answers, released, type_advice
from pylonyard.system import accounts
from real_machines import UID, difference, real_machine

pytestmark = machines.NEEDED

JIM = UID + 1
BY_SUDO = {"SUDO_UID": str(JIM)}


@pytest.fixture(scope="module")
def bare(public_folder, clean_environ):
    """A machine with a release of ``production.cfg``, by proxy, that nobody serves yet."""
    environ = {**clean_environ, "BUILDOUT_HOME": str(public_folder / "home")}
    with real_machine(public_folder, environ, "site:mode=proxy") as made:
        yield made


@pytest.fixture(scope="module")
def machine(bare):
    """The machine, on which ``production.cfg`` is active."""
    bare.run("service", "apache2", "start")
    bare.run("bin/buildout", *PRODUCTION, "site:mode=proxy", "site:port=8080")
    bare.pylonyard("activate")
    yield bare
    bare.pylonyard("deactivate")
    bare.run("service", "apache2", "stop")


def test_last_line_brings_a_site_that_runs_to_its_new_port(bare):
    type_advice(bare, released(bare, "site:mode=proxy", "site:port=8080")[-1])
    assert answers(bare, 8080) == "200"

    line = released(bare, "site:mode=proxy", "site:port=8081")[-1]
    refused = bare.run("bin/simplesite", "start", check=False)
    assert "runs at http://127.0.0.1:8080/ still, not at http://127.0.0.1:8081/" in refused.stdout
    type_advice(bare, line)

    assert (answers(bare, 8080), answers(bare, 8081)) == ("000", "200")
    bare.run("bin/simplesite", "stop")


@pytest.fixture
def users_machine(bare, public_folder):
    """The machine with the checkout of an ordinary user who has tried development."""
    home = bare.checkout.path.parent / "jim"
    site = home / "site"
    site.mkdir(parents=True)
    copy_checkout(site)
    shutil.copytree(public_folder / "cache/dist", site / "cache/dist")
    bare.run("useradd", "--uid", JIM, "--user-group", "--home-dir", home, "jim")
    bare.run("chown", "-R", "jim:", home)
    environ = {**bare.checkout.environ, "HOME": str(home), "BUILDOUT_HOME": str(home)}
    made = copy.copy(bare)
    made.checkout = Checkout(site, environ, python=bare.checkout.python)
    made.run(made.checkout.python, "bootstrap.py", "site:port=8086", user="jim", net=False)
    made.run("bin/simplesite", "start", user="jim")
    made.run("bin/simplesite", "stop", user="jim")
    yield made
    made.run("bin/pylonyard", "deactivate", **BY_SUDO)
    made.run("service", "apache2", "stop")


def without_sudo(advised):
    """Return a line that is advised to a user, as root types it."""
    return advised.removeprefix("as root: ").replace("sudo ", "")


def test_user_gets_to_production_by_the_printed_advice(users_machine):
    words = ["bin/buildout", *PRODUCTION, "site:mode=proxy", "site:port=8086"]
    releases = users_machine.checkout.path / "releases"

    said = users_machine.run(*words, user="jim", check=False).stdout.splitlines()[-1]
    assert "sites: simplesite cannot write " in said
    assert "; use a checkout of its own below /srv: docs/on-a-real-server.rst, or, " in said
    assert os.listdir(releases) == ["1"]
    users_machine.run("sh", "-c", without_sudo(said.partition(" to keep these files: ")[2]))
    said = (
        users_machine.run(*words, user="jim").stdout.splitlines()[-1].removeprefix("pylonyard:   ")
    )
    assert without_sudo(said).startswith("bin/pylonyard activate ")

    refused = users_machine.run("bin/pylonyard", "activate", check=False)
    by_sudo = "let jim run this by sudo, or " if accounts.has_sudo() else ""
    assert f"; {by_sudo}serve from a checkout of root's" in refused.stdout
    users_machine.run("service", "apache2", "start")
    users_machine.run("bin/pylonyard", "activate", **BY_SUDO)

    assert users_machine.visit() == "200"
    assert "nothing has changed" in users_machine.run(*words, user="jim").stdout
    assert users_machine.run("find", ".", "-type", "d", "-user", "root").stdout == ""


def test_development_does_not_take_the_place_of_what_is_active(machine):
    before, sandbox = machine.snapshot(), machine.checkout.path
    current = os.readlink(sandbox / "current")
    made = sorted(each.name for each in (sandbox / "releases").glob("[0-9]*"))

    refused = machine.run("bin/buildout", "-c", "buildout.cfg", check=False)

    assert refused.returncode == 1
    (line,) = [x for x in refused.stdout.splitlines() if "is active as" in x]
    assert "simplesite is active as production" in line
    assert "of production.cfg), and this run would make it development" in line
    assert line.endswith(
        "; go on with bin/buildout -c production.cfg, or, if it is meant, first: "
        "bin/pylonyard deactivate"
    )
    assert os.readlink(sandbox / "current") == current
    assert sorted(each.name for each in (sandbox / "releases").glob("[0-9]*")) == made
    assert difference(before, machine.snapshot()) == ""
    assert machine.visit() == "200"


def test_root_is_no_account_of_a_site_for_clients(machine):
    current = os.readlink(machine.checkout.path / "current")

    refused = machine.run("bin/buildout", *PRODUCTION, "site:user=root", check=False)

    assert refused.returncode == 1
    assert refused.stdout.splitlines()[-1].endswith(
        "user: expected an account of the site's own in production, got 'root', who is root; "
        "name one, as in: user = simplesite"
    )
    assert os.readlink(machine.checkout.path / "current") == current


@pytest.fixture
def closed(machine):
    """The machine; its checkout is below a folder that root alone may enter."""
    folder = machine.checkout.path.parent
    folder.chmod(0o700)
    yield folder
    folder.chmod(0o755)


def test_checkout_that_the_account_cannot_reach_is_refused(machine, closed):
    words = ["site:mode=proxy", "site:port=8080"]

    refused = machine.run("bin/buildout", *PRODUCTION, *words, check=False)

    assert refused.returncode == 1
    assert (
        f"sites: simplesite cannot read {closed}, and so nothing of {closed}/box; keep it where "
        "every account may read, such as /srv/simplesite, and make it there again"
    ) in refused.stdout.splitlines()[-1]


def test_interpreter_that_the_account_cannot_reach_is_refused(machine):
    place = machine.checkout.path.parent / "python"
    machine.run("sh", "-c", f"mkdir -m 700 {place} && cp /usr/bin/python3 {place}")
    words = ["site:mode=proxy", "site:port=8080", f"app:python={place}/python3"]

    refused = machine.run("bin/buildout", *PRODUCTION, *words, check=False)

    assert refused.returncode == 1
    assert refused.stdout.splitlines()[-1].endswith(
        f"sites: simplesite cannot read {place}, where {place}/python3 is; use another Python: "
        "python = /usr/bin/python3 in the application's section"
    )


def test_port_of_an_active_site_moves_with_the_advised_activation(machine):
    words = ("site:mode=proxy", "site:port=8081")

    (line,) = released(machine, *words)
    refused = machine.run("bin/simplesite", "start", check=False)
    assert refused.stdout.endswith("8081/: as root: bin/pylonyard activate\n")
    assert machine.visit() == "200"
    type_advice(machine, line)

    assert (answers(machine, 8080), answers(machine, 8081)) == ("000", "200")
    assert machine.visit() == "200"
    said = machine.run("bin/buildout", *PRODUCTION, *words).stdout.splitlines()[-1]
    assert said.endswith("status   it is served already at http://127.0.0.1:8081/")


def test_environment_is_changed_on_purpose_and_back(machine):
    words = ["-c", "staging.cfg", "site:user=simplesite", "site:port=8081"]
    refused = machine.run("bin/buildout", *words, check=False)
    advised = refused.stdout.splitlines()[-1].rpartition("if it is meant: ")[2]
    assert advised == shlex.join(["bin/buildout", *words, "release:change=allow"])

    said = machine.run(*shlex.split(advised)).stdout
    type_advice(machine, said.splitlines()[-1])

    listed = machine.pylonyard("releases").splitlines()
    assert "staging" in next(line for line in listed if "current, active" in line)
    staging = ["-H", "Host: staging.example.org"]
    assert machine.run("curl", "-sf", *staging, "http://127.0.0.1/").stdout
    production = [line.split()[0] for line in listed if " production " in line][-1]
    machine.pylonyard("rollback", production, "--change-environment")
    assert machine.visit() == "200"


def test_account_of_what_is_active_is_not_changed_be_it_on_purpose(machine):
    words = ["site:mode=proxy", "site:port=8081", "site:user=www-data", "release:change=allow"]

    refused = machine.run("bin/buildout", *PRODUCTION, *words, check=False)

    assert refused.returncode == 1
    last = refused.stdout.splitlines()[-1]
    assert last.endswith("; if it is meant, first: bin/pylonyard deactivate")
    assert machine.visit() == "200"


def test_site_that_was_deactivated_is_not_red(machine):
    machine.pylonyard("deactivate")

    said = machine.run("bin/pylonyard", "doctor", check=False)

    assert said.returncode == 0, said.stdout
    assert "the site is not active" in said.stdout
    assert "-> bin/pylonyard activate" in said.stdout
