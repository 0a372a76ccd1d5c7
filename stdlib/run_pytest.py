"""Runs pytest and counts: `std/pytest` runs this. Python 3.9 or later, with pytest beside it.

The rest of the command line is pytest's own. Exit codes: 0, or 1 where a test failed and `--must-pass` is
`true`; pytest's own where it could not run the tests at all (a bad option, no tests, an interrupt).
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
from xml.etree import ElementTree

# pytest's exit codes that mean: the tests ran, and here are their results.
RAN = (0, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--summary", required=True)
    parser.add_argument("--junit", required=True)
    parser.add_argument("--must-pass", choices=("true", "false"), default="true")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if importlib.util.find_spec("pytest") is None:
        sys.exit("pytest: the stage's env has no pytest; put it into its requirements")
    for path in (options.summary, options.junit):
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    _, *arguments = options.command
    # Its cache would make a second run differ from the first, and colours are for terminals.
    own = ["-p", "no:cacheprovider", "--color=no", f"--junitxml={options.junit}"]
    code = subprocess.run([sys.executable, "-m", "pytest", *own, *arguments]).returncode
    if code not in RAN:
        sys.exit(code)
    counted = count(options.junit)
    with open(options.summary, "w", encoding="utf-8") as file:
        json.dump(counted, file, indent=2)
        file.write("\n")
    if code and options.must_pass == "true":
        sys.exit(code)


def count(path):
    """The results in a JUnit file, all suites together."""
    root = ElementTree.parse(path).getroot()
    suites = [root] if root.tag == "testsuite" else root.findall("testsuite")
    total = {n: sum(int(s.get(n, 0)) for s in suites) for n in ("tests", "failures", "errors", "skipped")}
    return {
        "passed": total["tests"] - total["failures"] - total["errors"] - total["skipped"],
        "failed": total["failures"],
        "errors": total["errors"],
        "skipped": total["skipped"],
        "seconds": round(sum(float(s.get("time", 0)) for s in suites), 3),
    }


if __name__ == "__main__":
    main()
