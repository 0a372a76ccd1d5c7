"""The job graph of an event as a value: what a CI service has to start, in which order, with what.

Nothing here knows a service. The backends turn it into text; `mlpipec exec` looks jobs up in it.
"""

from __future__ import annotations

from enum import StrEnum

from mlflowc.frozen import dataclass
from mlflowc.ir.model import Event, ScalarType, Value
from mlflowc.ir.sweeps import Part


class JobKind(StrEnum):
    """What a job does: resolve hits, run stages, decide gates and write reports, propose the new lock as a
    pull request, or act on the world."""

    PLAN = "plan"
    STAGES = "stages"
    CHECK = "check"
    PROPOSE = "propose"
    ACTION = "action"


@dataclass(frozen=True, slots=True)
class Job:
    """One machine's work.

    `id` is unique in its workflow and fit for a file name, a YAML key and a shell word
    (`[a-z_][a-z0-9_-]*`, at most 64 characters). `stages` are in topological order. `needs` are the jobs
    that must have ended well (or been skipped on a hit) before; `imports`, among them, are those whose
    bundle this job reads. `secrets` are names. `trusted`: never started for a fork's pull request.
    `skippable`: costs enough (or holds secrets) that it is skipped when its results are cached.
    `part`: of the sweep that its only stage carries out, it runs some trials, or takes all together.
    `timeout` is seconds (None: the service's default). `history`: wants the whole git history, for
    baselines. `approve` is the environment whose reviewers must agree first. `comments`: its reports become
    comments of the pull request; `statuses`: its gates become commit statuses.
    `auths` are the providers to which the service's OIDC token is shown. A job that proposes puts its
    gates and reports into the pull request.
    """

    id: str
    kind: JobKind
    title: str
    stages: tuple[str, ...] = ()
    gates: tuple[str, ...] = ()
    reports: tuple[str, ...] = ()
    action: str | None = None
    runner: str | None = None
    needs: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    trusted: bool = False
    skippable: bool = False
    timeout: int | None = None
    history: bool = False
    approve: str | None = None
    part: Part | None = None

    @property
    def finishes(self) -> bool:
        """Whether it leaves the results of its stages: one that only runs some trials does not."""
        return self.part is None or self.part.index is None

    comments: bool = False
    statuses: bool = False
    auths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkflowInput:
    """A parameter that a person sets when starting the workflow.

    `id` is its name in a form (`train-epochs`), `variable` the environment variable that carries the
    text to `mlpipec exec` (`MLPIPE_INPUT_TRAIN_EPOCHS`); an unset or empty variable means the default.
    """

    param: str
    id: str
    variable: str
    type: ScalarType
    default: Value


@dataclass(frozen=True, slots=True)
class Workflow:
    """All jobs of one event, in a topological order; the first is the `plan` job."""

    id: str
    event: Event
    jobs: tuple[Job, ...]
    inputs: tuple[WorkflowInput, ...] = ()

    def job(self, id: str) -> Job | None:
        """The job called `id`, if there is one."""
        return next((j for j in self.jobs if j.id == id), None)

    def making(self, stage: str) -> Job | None:
        """The job that runs the stage `stage`."""
        return next((j for j in self.jobs if stage in j.stages and j.finishes), None)
