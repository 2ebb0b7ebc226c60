#!/usr/bin/env python3
"""Run the tests of which the suite takes some cases with all of their cases.

    python3 benchmarks/series.py [PYTEST-ARGUMENT ...]

These are series (an activation that is killed after each of its steps) and whole tables
(each mode with each way to send half a request).
"""

import argparse
import os
import sys

from fresh_checkout import ROOT


def main() -> None:
    described = argparse.RawDescriptionHelpFormatter
    _, more = argparse.ArgumentParser(
        description=__doc__, formatter_class=described
    ).parse_known_args()
    files = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if "from series import" in path.read_text(encoding="utf-8")
    ]
    os.chdir(ROOT)
    words = [sys.executable, "bootstrap.py", "test", *files]
    os.environ["PYLONYARD_SERIES"] = "all"
    os.execv(sys.executable, [*words, *more])


if __name__ == "__main__":
    main()
