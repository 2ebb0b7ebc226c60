#!/usr/bin/env python3
"""Upgrade a bare Debian 12 with two sites to Debian 13, as docs/debian-upgrade.rst says.

    python3 benchmarks/debian_upgrade.py [--late]

One site has a server of its own, in somebody's home; the other is active in the machine's
Apache, with mod_wsgi.  Each must answer 200 at every step, and run on the new Python in the
end, when the old one is gone.  With ``--late`` the old one goes first: the page says what
is seen then, and how it is mended.  As root, with debootstrap and slirp4netns; it takes
ten minutes, and downloads half of a Debian.
"""

import argparse
import sys
from pathlib import Path

import bare_debian

PACKAGES = "apache2 apache2-dev build-essential python3-dev"
INSTALL = f"""
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -yq --no-install-recommends {PACKAGES}
service apache2 start
"""
UPGRADE = """
export DEBIAN_FRONTEND=noninteractive
grep -rl bookworm /etc/apt | xargs sed -i s/bookworm/trixie/g
apt-get update -q
kept="-o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold"
apt-get upgrade -yq --without-new-pkgs $kept
apt-get full-upgrade -yq $kept
"""
# debootstrap marks all that it installs as wanted; an installed Debian does not.
AUTOREMOVE = """
export DEBIAN_FRONTEND=noninteractive
apt-mark auto $(dpkg-query -W -f '${Package}\\n' '*python3.11*') > /dev/null
apt-get autoremove --purge -yq
! test -e /usr/bin/python3.11
"""
SITE = "/srv/simplesite"
ALIVE = {
    "home": ("http://127.0.0.1:8080/", None),
    "Apache": ("http://127.0.0.1/", "www.example.org"),
}


class Machine:
    """A Debian 12 that has both sites, and becomes a Debian 13."""

    def __init__(self, debian: bare_debian.Debian) -> None:
        self.debian = debian
        self.home = debian.clone("/home/somebody/pylonyard", "somebody")
        debian.let_services_start()
        debian.type(INSTALL)
        debian.type("adduser --system --group --no-create-home simplesite")
        debian.clone(SITE)
        self.redeploy()
        self.debian.type("bin/simplesite start", "somebody", self.home)

    def redeploy(self) -> None:
        """Do what the page says for each sandbox."""
        self.debian.type("python3 bootstrap.py", "somebody", self.home)
        self.debian.type("python3 bootstrap.py -c production.cfg", folder=SITE)
        self.debian.type("bin/pylonyard activate", folder=SITE)

    def upgrade(self) -> None:
        self.debian.type(UPGRADE)
        # The upgrade writes Debian's own certificates over those of this network.
        bare_debian._connect(self.debian)

    def expect(self, what: str, **statuses: int) -> None:
        """Compare what the sites answer; 200 unless ``statuses`` says otherwise."""
        for name, (url, host) in ALIVE.items():
            wanted, (got, _) = statuses.get(name, 200), self.debian.visit(url, host)
            if got != wanted:
                sys.exit(f"debian_upgrade: {what}: {name}: expected {wanted}, got {got}")
        print(f"{what}: as told", flush=True)

    def expect_python(self, version: str) -> None:
        for folder in (self.home, SITE):
            output = self.debian.type("current/simplesite/bin/python -V", folder=folder).stdout
            if version not in output:
                sys.exit(f"debian_upgrade: {folder}: expected Python {version}, got {output}")


def upgrade_in_order(machine: Machine) -> None:
    """Let the new releases be live before the old Python goes."""
    machine.debian.type("bin/simplesite restart", "somebody", machine.home)
    machine.debian.type("service apache2 restart")
    machine.expect("restarted on the old Python")
    machine.redeploy()
    machine.debian.type("bin/simplesite restart", "somebody", machine.home)
    machine.expect("on the new Python")
    machine.debian.type(AUTOREMOVE)


def upgrade_late(machine: Machine) -> None:
    """Let the old Python go first, and mend that."""
    machine.debian.type(AUTOREMOVE)
    machine.debian.type("service apache2 stop")
    machine.debian.type("! apache2ctl configtest")
    machine.debian.type("a2dissite simplesite && a2dismod wsgi && service apache2 start")
    machine.redeploy()
    machine.debian.type("bin/simplesite restart", "somebody", machine.home)


def main() -> None:
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("--late", action="store_true", help="remove the old Python first")
    words.add_argument(
        "--folder", type=Path, default=bare_debian.FOLDER, help="where bases of machines are kept"
    )
    given = words.parse_args()
    try:
        with bare_debian.machine(12, given.folder) as debian:
            machine = Machine(debian)
            machine.expect("on Debian 12")
            machine.upgrade()
            machine.expect("upgraded")
            (upgrade_late if given.late else upgrade_in_order)(machine)
            machine.debian.type("service apache2 restart")
            machine.debian.type("bin/simplesite restart", "somebody", machine.home)
            machine.expect("restarted, the old Python gone")
            machine.expect_python("3.13")
    except (bare_debian.Lacking, bare_debian.CommandFailed) as error:
        sys.exit(f"debian_upgrade: {error}")


if __name__ == "__main__":
    main()
