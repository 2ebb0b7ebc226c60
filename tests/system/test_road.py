"""From development to production and back in one checkout, with real runs and activations."""

import os

import machines
import pytest
from real_machines import difference, real_machine

pytestmark = machines.NEEDED


@pytest.fixture(scope="module")
def machine(public_folder, clean_environ):
    """A machine on which ``production.cfg`` is active."""
    environ = {**clean_environ, "BUILDOUT_HOME": str(public_folder / "home")}
    with real_machine(public_folder, environ, "site:mode=proxy") as made:
        made.run("service", "apache2", "start")
        made.pylonyard("activate")
        yield made
        made.pylonyard("deactivate")
        made.run("service", "apache2", "stop")


def test_development_does_not_take_the_place_of_what_is_active(machine):
    before, sandbox = machine.snapshot(), machine.checkout.path

    refused = machine.run("bin/buildout", "-c", "buildout.cfg", net=False, check=False)

    assert refused.returncode == 1
    (line,) = [x for x in refused.stdout.splitlines() if "is active as" in x]
    assert "simplesite is active as production" in line
    assert "(release 1 of production.cfg), and this run would make it development" in line
    assert line.endswith(
        "; go on with bin/buildout -c production.cfg, or, if it is meant: "
        "bin/buildout -c buildout.cfg release:change=allow"
    )
    assert os.readlink(sandbox / "current") == "releases/1"
    assert [each.name for each in (sandbox / "releases").glob("[0-9]*")] == ["1"]
    assert difference(before, machine.snapshot()) == ""
    assert machine.visit() == "200"


def test_root_is_no_account_of_a_site_for_visitors(machine):
    words = ["bin/buildout", "-c", "production.cfg", "site:port=8080", "site:user=root"]

    refused = machine.run(*words, net=False, check=False)

    assert refused.returncode == 1
    assert refused.stdout.splitlines()[-1].endswith(
        "user: expected an account of the site's own in production, got 'root', who is root; "
        "name one, as in: user = simplesite"
    )
    assert os.readlink(machine.checkout.path / "current") == "releases/1"
