"""A secret whose name cannot be one."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mlflowc.check.facts import Facts
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation

_NAME = re.compile(r"[A-Z_][A-Z0-9_]*", re.IGNORECASE)
_TAKEN = frozenset(("PATH", "HOME", "USER", "SHELL", "LANG", "TMPDIR", "PWD", "PYTHONPATH", "CI"))
_PREFIXES = ("GITHUB_", "CI_", "GITLAB_", "BITBUCKET_", "RUNNER_", "MLPIPE_")

CHECK = Check(
    "MLP344",
    Severity.ERROR,
    "a secret's name that cannot be used",
    explanation(
        """
        A secret reaches the command as an environment variable of its name. Names such as `PATH` would
        break the command, and names that begin with `GITHUB_`, `CI_` or the like belong to a service, which
        refuses to store a secret under them.
        """,
        """
        stage a {
          secrets = [GITHUB_KEY]
          out x = "x.csv"
          run = "touch {{x}}"
        }
        """,
        """
        stage a {
          secrets = [DEPLOY_KEY]
          out x = "x.csv"
          run = "touch {{x}}"
        }
        """,
    ),
)


def check(facts: Facts) -> Iterator[Diagnostic]:
    """Declared and used secrets."""
    places = {part.value: part.span for part in facts.typed.secrets}
    for step in facts.steps:
        for name in step.value.secrets:
            places.setdefault(name, step.settings.get("secrets", step.span))
    for name, span in places.items():
        prefix = next((p for p in _PREFIXES if name.upper().startswith(p)), None)
        if name.upper() == "GITHUB_TOKEN":
            why = "the service makes it itself"
        elif prefix:
            why = f"names with `{prefix}` belong to a service"
        elif name.upper() in _TAKEN:
            why = "the command needs that variable for itself"
        elif not _NAME.fullmatch(name):
            why = "an environment variable has letters, digits and `_`"
        else:
            continue
        yield Diagnostic.of(
            CHECK, f"`{name}` cannot be the name of a secret: {why}", span, help="choose another name"
        )
