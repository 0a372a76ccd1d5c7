"""`if:` of GitHub's workflows: what of it events of the language can say."""

from __future__ import annotations

import re
from dataclasses import replace

from mlflowc.importing.ci import Trigger

_WHOLE = re.compile(r"\$\{\{(.*)\}\}", re.DOTALL)
_STATUS = re.compile(r"always\(\)|success\(\)|!\s*cancelled\(\)|true")
_NAME = re.compile(r"github\.event_name\s*(==|!=)\s*'(\w+)'")
_BRANCH = re.compile(r"github\.ref(?:_name)?\s*==\s*'(?:refs/heads/)?((?!refs/)[\w./-]+)'")
# GitHub's names of events as ours.
_EVENTS = {
    "push": ("push", "tag"),
    "pull_request": ("pull_request",),
    "pull_request_target": ("pull_request",),
    "schedule": ("schedule",),
    "workflow_dispatch": ("manual",),
}


def guard(condition: str) -> str:
    """What a condition adds to "the steps before were fine"; empty for nothing."""
    terms = [t for t in _terms(condition) if not _STATUS.fullmatch(t)]
    return " && ".join(terms)


def apply(condition: str, triggers: list[Trigger]) -> tuple[list[Trigger], str]:
    """The triggers under which a job with this condition runs, and what of the condition they do not say."""
    left: list[str] = []
    for term in _terms(guard(condition)):
        name, branch = _NAME.fullmatch(term), _BRANCH.fullmatch(term)
        if name is not None and name[2] in _EVENTS:
            wanted = name[1] == "=="
            triggers = [t for t in triggers if (t.kind in _EVENTS[name[2]]) is wanted]
        elif branch is not None:
            triggers = [made for t in triggers if (made := _on(branch[1], t)) is not None]
        else:
            left.append(term)
    return triggers, " && ".join(left)


def _terms(condition: str) -> list[str]:
    whole = _WHOLE.fullmatch(condition.strip())
    text = (whole[1] if whole is not None else condition).strip()
    if "||" in text or not text:
        return [text] if text else []
    return [t.strip() for t in text.split("&&")]


def _on(branch: str, trigger: Trigger) -> Trigger | None:
    """The trigger for that branch alone; what has no branch of its own starts on the main one."""
    match trigger.kind:
        case "push":
            fits = trigger.pattern in ("", "*", "**", branch)
            return replace(trigger, pattern=branch) if fits else None
        case "pull_request" | "tag":
            return None
    return trigger
