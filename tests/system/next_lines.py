"""Type the advice at the end of a run on a machine, as it stands."""

import re

PRODUCTION = ("-c", "production.cfg")


def released(machine, *words):
    """Run buildout for production; return the lines that it ends with."""
    said = machine.run("bin/buildout", *PRODUCTION, *words).stdout
    return [line for line in said.splitlines() if line.startswith("pylonyard:   ")]


def type_advice(machine, line):
    """Type the command of a line that tells what to do next."""
    command = re.split(r"  +", line.removeprefix("pylonyard:").strip())[0]
    return machine.run("sh", "-c", command).stdout


def type_stop_advice(machine, *words):
    """Start a run that is refused because a server runs; type its advice."""
    refused = machine.run("bin/buildout", *PRODUCTION, *words, check=False)
    assert refused.returncode == 1
    last = refused.stdout.splitlines()[-1]
    assert " runs as production, " in last
    machine.run("sh", "-c", last.partition("; stop it first: ")[2])


def answers(machine, port):
    """Return the status that a server, or a private Apache, answers at a port."""
    url = f"http://127.0.0.1:{port}/"
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-m", "20"]
    return machine.run(*command, "-H", "Host: www.example.org", url, check=False).stdout
