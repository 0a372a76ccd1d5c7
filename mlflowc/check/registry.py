"""Everything that can be found wrong, by code: one row a module that finds something."""

from __future__ import annotations

import importlib
from functools import cache

from mlflowc.diagnostic import Check

# Modules with a `CHECKS` tuple, by phase. By name, and imported when asked for: some of them lie above this
# one (jobs, backends), and only `explain` and SARIF want them all.
MODULES: tuple[str, ...] = (
    "mlflowc.syntax.checks",
    "mlflowc.resolve.scope",
    "mlflowc.resolve.modules",
    "mlflowc.resolve.paramfile",
    "mlflowc.check.values",
    "mlflowc.check.types",
    "mlflowc.check.inputs",
    "mlflowc.check.assets",
    "mlflowc.check.params",
    "mlflowc.check.templates",
    "mlflowc.check.signatures",
    "mlflowc.check.references",
    "mlflowc.check.metricref",
    "mlflowc.check.better",
    "mlflowc.check.expressions",
    "mlflowc.check.components",
    "mlflowc.check.assets",
    "mlflowc.check.reports",
    "mlflowc.check.sweeps",
    "mlflowc.check.events",
    "mlflowc.lower",
    "mlflowc.check.rules",
    "mlflowc.check.unbuilt",
    "mlflowc.backends.github",
    "mlflowc.backends.gitlab",
    "mlflowc.backends.bitbucket",
    "mlflowc.backends.makefile",
)

PHASES: dict[str, str] = {
    "1": "Syntax",
    "2": "Names and types",
    "3": "Graph and files",
    "4": "Lint",
    "5": "What a target or this version cannot do",
}


@cache
def all_checks() -> tuple[Check, ...]:
    """All checks of all modules, by code. Modules may share one."""
    found = {check for name in MODULES for check in _checks(name)}
    return tuple(sorted(found, key=lambda check: check.code))


def find(code: str) -> Check | None:
    """The check with this code, however it is written (`mlp303`, `303`)."""
    wanted = normal_code(code)
    return next((check for check in all_checks() if check.code == wanted), None)


def normal_code(code: str) -> str:
    """`303` and `mlp303` as `MLP303`."""
    upper = code.strip().upper()
    return f"MLP{upper}" if upper.isdigit() else upper


def _checks(name: str) -> tuple[Check, ...]:
    checks: tuple[Check, ...] = importlib.import_module(name).CHECKS
    return checks
