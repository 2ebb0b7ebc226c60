#!/usr/bin/env python3
"""Check that the real programs read 10,000 generated values as the recipes write them.

    python3 benchmarks/generated_values.py [--values 10000] [pytest's arguments, such as -k apache]

Every value goes through a recipe's options and templates.  Then PasteDeploy reads it
on Python 3 and 2.7, dash and bash run it, logrotate rotates it, cron starts it and
Apache serves it (as root, who may make the namespaces that this takes).
A value with another meaning fails; the figures are printed.  It is the test of the
same name, which tries a few hundred otherwise.
"""

import argparse
import os
import sys

from fresh_checkout import ROOT


def main() -> None:
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument(
        "--values", type=int, default=10_000, metavar="N", help="of each kind; default: 10000"
    )
    given, more = words.parse_known_args()
    path = str(ROOT / "tests" / "system" / "test_generated_values.py")
    environ = {**os.environ, "PYLONYARD_VALUES": str(given.values)}
    command = [sys.executable, str(ROOT / "bootstrap.py"), "test", "-q", "-s", path, *more]
    os.chdir(ROOT)
    os.execve(sys.executable, command, environ)


if __name__ == "__main__":
    main()
