"""The rules: what can be wrong with a pipeline whose names and types are right. One rule a file.

Each module has `CHECK`, what it finds, and `check(facts)`, which yields the findings. To add a rule, add a
file, a row in `RULES`, and a case in `tests/cases/err/`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from mlflowc.check.facts import Facts
from mlflowc.check.model import Checked
from mlflowc.check.rules import (
    auth_missing,
    auth_unused,
    background,
    cron,
    cron_congested,
    cron_days,
    cron_often,
    data_path_url,
    empty_event,
    empty_run,
    event_twice,
    fork_secret,
    fork_stage_secret,
    gate_constant,
    gpu_nowhere,
    hidden_edge,
    hidden_read,
    idle_pattern,
    image_tag,
    input_unused,
    installs,
    keep_overlap,
    limits,
    metrics_without_fields,
    missing_code,
    missing_env_file,
    missing_input,
    missing_script,
    missing_source_file,
    never_started,
    no_stages,
    output_collides,
    output_nested,
    output_over_source,
    output_reserved,
    output_twice,
    output_unwritten,
    own_input,
    param_unused,
    path_form,
    path_outside,
    plain_http,
    propose_event,
    propose_partly,
    python_version,
    quoted_placeholder,
    secret_name,
    secret_written,
    single_braces,
    spot_without_keep,
    stage_unreached,
    swallowed,
    timeout_capped,
    unordered_query,
    unused,
    with_idle,
    zone,
)
from mlflowc.diagnostic import Check, Diagnostic, Severity
from mlflowc.resolve.loader import Loader


class Rule(Protocol):
    """What each module of this package is."""

    CHECK: Check

    def check(self, facts: Facts) -> Iterator[Diagnostic]:
        """The findings, in the order of the source."""


# By code.
RULES: tuple[Rule, ...] = (
    output_twice,
    output_nested,
    path_outside,
    output_reserved,
    output_collides,
    output_over_source,
    own_input,
    keep_overlap,
    missing_input,
    hidden_edge,
    missing_env_file,
    missing_script,
    missing_source_file,
    missing_code,
    empty_run,
    limits,
    cron,
    cron_often,
    zone,
    fork_secret,
    empty_event,
    event_twice,
    python_version,
    secret_written,
    secret_name,
    data_path_url,
    propose_event,
    auth_missing,
    cron_congested,
    cron_days,
    fork_stage_secret,
    with_idle,
    stage_unreached,
    never_started,
    unused,
    param_unused,
    input_unused,
    output_unwritten,
    quoted_placeholder,
    single_braces,
    gate_constant,
    gpu_nowhere,
    image_tag,
    path_form,
    hidden_read,
    installs,
    swallowed,
    background,
    plain_http,
    idle_pattern,
    spot_without_keep,
    no_stages,
    metrics_without_fields,
    timeout_capped,
    unordered_query,
    propose_partly,
    auth_unused,
)

# These conclude from what is *not* there: a name that did not resolve would make them say what is not so.
FROM_ABSENCE: frozenset[Rule] = frozenset(
    {
        with_idle,
        stage_unreached,
        never_started,
        unused,
        param_unused,
        input_unused,
        output_unwritten,
        hidden_read,
        gpu_nowhere,
        spot_without_keep,
        no_stages,
        metrics_without_fields,
        propose_partly,
    }
)

CHECKS: tuple[Check, ...] = tuple(rule.CHECK for rule in RULES)


def run(typed: Checked, loader: Loader, before: Sequence[Diagnostic] = ()) -> tuple[Diagnostic, ...]:
    """What all rules find, each finding once. `before` is what was found already: where names or types have
    errors (`MLP1xx`, `MLP2xx`), the rules of `FROM_ABSENCE` are not asked."""
    facts = Facts(typed, loader)
    broken = any(d.severity is Severity.ERROR and d.code < "MLP3" for d in before)
    found: dict[Diagnostic, None] = {}
    for rule in RULES:
        if not (broken and rule in FROM_ABSENCE):
            found.update(dict.fromkeys(rule.check(facts)))
    return tuple(found)
