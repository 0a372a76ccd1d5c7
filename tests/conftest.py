"""One environment for all tests: nothing of the machine's CI service, colours or git shows through."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import settings

CHECKOUT = Path(__file__).resolve().parent.parent
# Read before it is taken away: where a tool is missing a developer's run skips, CI's fails.
IN_CI = bool(os.environ.get("CI"))

_FOREIGN = ("GITHUB_", "GITLAB_", "CI_", "BITBUCKET_", "RUNNER_", "MLPIPEC_", "GIT_AUTHOR_", "GIT_COMMITTER_")
_KEPT = ("MLPIPEC_TEST_",)

for name in list(os.environ):
    if name == "CI" or (name.startswith(_FOREIGN) and not name.startswith(_KEPT)):
        del os.environ[name]
for name in (
    "NO_COLOR",
    "FORCE_COLOR",
    "CLICOLOR_FORCE",
    "COLUMNS",
    "GIT_DIR",
    "GIT_WORK_TREE",
    "PYTHONPATH",
):
    os.environ.pop(name, None)

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

# A slow machine is no failure.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")
