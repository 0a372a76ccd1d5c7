"""One environment for all tests: nothing of the machine's CI service, colours or git shows through."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from hypothesis import settings

CHECKOUT = Path(__file__).resolve().parent.parent
# Where a tool is missing a developer's run skips, CI's fails. Read before `CI` is taken away, and passed on
# to the workers of pytest-xdist, which start after that.
IN_CI = bool(os.environ.get("CI") or os.environ.get("MLPIPEC_TEST_IN_CI"))
if IN_CI:
    os.environ["MLPIPEC_TEST_IN_CI"] = "1"

# Series of random steps in a test. `make torture` asks for many, and for every place instead of a sample.
EXAMPLES = int(os.environ.get("MLPIPEC_TEST_EXAMPLES", "12"))

_FOREIGN = ("GITHUB_", "GITLAB_", "CI_", "BITBUCKET_", "RUNNER_", "MLPIPEC_", "GIT_AUTHOR_", "GIT_COMMITTER_")
_KEPT = ("MLPIPEC_TEST_",)

for name in list(os.environ):
    if name == "CI" or (name.startswith(_FOREIGN) and not name.startswith(_KEPT)):
        del os.environ[name]
# `make test` tells every make below it that it is one, and those then talk about the folders they enter.
_OTHERS = (
    "MAKEFLAGS MAKELEVEL MFLAGS NO_COLOR FORCE_COLOR CLICOLOR_FORCE COLUMNS GIT_DIR GIT_WORK_TREE PYTHONPATH"
)
for name in _OTHERS.split():
    os.environ.pop(name, None)

# The tests start thousands of processes: where bytecode is not kept, each compiles all that it imports anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

os.environ |= {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "Test",
    "GIT_AUTHOR_EMAIL": "test@example.com",
    "GIT_COMMITTER_NAME": "Test",
    "GIT_COMMITTER_EMAIL": "test@example.com",
    # Environments of stages are made once and kept between runs of the tests.
    "MLPIPEC_CACHE_DIR": str(CHECKOUT / ".cache" / "mlpipec"),
    "TZ": "UTC",
}

# What a shell starts in the background ignores SIGINT, and so would all that the tests start and interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A slow machine is no failure.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")
