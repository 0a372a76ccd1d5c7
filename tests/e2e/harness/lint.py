"""Other people's judges of generated files. Each takes files and returns what it finds wrong, "" for nothing.

Traps:

- actionlint finds shellcheck on PATH, and is silent about scripts where there is none: `actionlint` refuses
  to run without it;
- zizmor exits 0 for nothing, 11 to 14 by the worst finding, other codes when it could not work;
- the schema of Bitbucket is open: it lets unknown keys of a step pass; it says something about shape only.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.conftest import CHECKOUT
from tests.e2e.harness import process
from tests.e2e.harness.tools import Tools

SCHEMAS = CHECKOUT / "backends" / "schemas"


class Linters:
    """The linters of the tools folder; `home` is a folder that they may write to."""

    def __init__(self, tools: Tools, home: Path) -> None:
        self.tools = tools
        self.env = tools.environment(home)

    def workflow_parser(self, files: list[Path]) -> str:
        """GitHub's own parser and the language service of its editor extension."""
        return self._run([str(self.tools.node), str(self.tools.workflow_parser)], files)

    def actionlint(self, files: list[Path]) -> str:
        """actionlint, with shellcheck over every `run`."""
        shellcheck = shutil.which("shellcheck", path=self.tools.path)
        assert shellcheck, "actionlint would not look at scripts without shellcheck"
        # Which labels the runners of an organisation have, only that organisation knows.
        arguments = ["-no-color", "-shellcheck", shellcheck, "-ignore", 'label ".+" is unknown']
        return self._run([str(self.tools.program("actionlint")), *arguments], files)

    def zizmor(self, files: list[Path]) -> str:
        """zizmor's security audits, the strictest set, without a network."""
        arguments = ["--offline", "--persona", "pedantic", "--no-progress", "--color", "never"]
        return self._run([str(self.tools.program("zizmor")), *arguments], files)

    def schema(self, name: str, files: list[Path]) -> str:
        """The published JSON schema `name` as vendored in the package."""
        schema = SCHEMAS / f"{name}.json"
        return self._run([str(self.tools.program("check-jsonschema")), "--schemafile", str(schema)], files)

    def gitlab_ci_verify(self, file: Path) -> str:
        """gitlab-ci-verify with shellcheck over every script; without the service's own check."""
        arguments = ["--no-lint-api", "--gitlab-ci-file", str(file)]
        return self._run([str(self.tools.program("gitlab-ci-verify")), *arguments], [])

    def _run(self, command: list[str], files: list[Path]) -> str:
        done = process.run([*command, *map(str, files)], cwd=CHECKOUT, env=self.env, timeout=120)
        if done.returncode == 0:
            return ""
        return f"{command[0]} ended with {done.returncode}\n{done.stdout}{done.stderr}"
