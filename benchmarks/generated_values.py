#!/usr/bin/env python3
"""Have the real programs read 10,000 generated values each, as the recipes write them.

    python3 benchmarks/generated_values.py [--values 10000] [pytest's arguments, such as -k apache]

Every value goes through a recipe's options and templates.  Then PasteDeploy reads it
on Python 3 and 2.7, dash and bash run it, logrotate rotates it, cron starts it and
Apache serves it (as root, who may make the namespaces that this takes).
A value with another meaning fails; the figures are printed.  It is the test of the
same name, which tries a few hundred otherwise; bin/test has to be there.
"""

import argparse
import os

from fresh_checkout import ROOT


def main() -> None:
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("--values", type=int, default=10_000, metavar="N")
    given, more = words.parse_known_args()
    test = str(ROOT / "bin" / "test")
    path = str(ROOT / "tests" / "system" / "test_generated_values.py")
    environ = {**os.environ, "PYLONYARD_VALUES": str(given.values)}
    os.execve(test, [test, "-q", "-s", path, *more], environ)


if __name__ == "__main__":
    main()
