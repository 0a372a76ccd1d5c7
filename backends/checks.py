"""What a service cannot do with a workflow, found before a push. The rules that services share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from zoneinfo import ZoneInfo, available_timezones

from mlflowc.backends.limits import Limits

from mlflowc.diagnostic import Check, Diagnostic, Severity
from mlflowc.ir.model import Pipeline, Place, Runner, Stage
from mlflowc.jobs.cron import Cron, CronError, parse_cron
from mlflowc.jobs.model import Job, JobKind, Workflow
from mlflowc.target import GeneratedFile, Settings

NO_LABEL = Check(
    "MLP530",
    Severity.ERROR,
    "a GPU stage has no runner at this service",
    "A stage that wants a GPU needs a machine that has one. Which, only you know: a service finds it by the"
    ' labels of its runner.\n\n```mlpipe\nrunner a10g {\n  gpu       = gpu(1, "A10G")\n'
    '  github    = ["self-hosted", "gpu"]\n  gitlab    = ["gpu"]\n'
    '  bitbucket = ["self.hosted", "linux", "gpu"]\n}\n```',
)
TIMEOUT = Check(
    "MLP531",
    Severity.ERROR,
    "a timeout is longer than the service lets a job run",
    "The service ends the job at its own limit, whatever the file says, so the stage would be lost at that"
    " moment. Use a runner of your own (by label), which has a longer limit, or a shorter `timeout`.",
)
CRON = Check(
    "MLP532",
    Severity.ERROR,
    "a cron expression that no service takes",
    "Five fields are wanted: minute, hour, day of the month, month, day of the week, as in"
    ' `"17 3 * * 1-5"`. An expression that fits no date (`0 0 31 2 *`) never starts anything.',
)
CRON_SERVICE = Check(
    "MLP533",
    Severity.ERROR,
    "a cron expression that this service does not take",
    "Services have a least time between two starts, and Bitbucket's schedules (Quartz) cannot hold a day of"
    " the month and a day of the week at once. Write it so that every target that you build for takes it.",
)
ZONE = Check(
    "MLP534",
    Severity.ERROR,
    "an unknown time zone",
    '`zone` is a name of the IANA time zone database, as in `"Europe/Paris"` or `"UTC"`.',
)
ZONE_IGNORED = Check(
    "MLP535",
    Severity.WARNING,
    "the service knows no time zones",
    "Bitbucket's schedules are in UTC. The cron expression is taken as it stands, so it starts at that time"
    " in UTC.",
)
INPUTS = Check(
    "MLP536",
    Severity.ERROR,
    "more inputs than the service's form takes",
    "Let `on manual` ask for fewer parameters; the others keep the values of the parameter file.",
)
TOO_MANY_JOBS = Check(
    "MLP537",
    Severity.ERROR,
    "more jobs than the service takes in one pipeline",
    "Each group of stages with its own runner, environment or parallel branch becomes a job. Put stages on"
    " the same runner and environment, so that chains of them become one job, or run fewer in this event.",
)
NAME_LENGTH = Check(
    "MLP538",
    Severity.ERROR,
    "a generated name is too long for the service",
    "Jobs, caches and files are named after the pipeline, the event and the stage. Give a shorter name.",
)
FILE_SIZE = Check(
    "MLP539",
    Severity.ERROR,
    "the generated file is larger than the service reads",
    "Split the pipeline, or run fewer stages in one event.",
)
FORK_SECRET = Check(
    "MLP540",
    Severity.WARNING,
    "a pull request from a fork cannot start this job",
    "The job holds secrets or runs on machines of yours, so it is never started for a fork: anyone could"
    " change what it runs. For a fork its results are taken from the cache; where they are not there, the"
    " jobs that need them say so and fail. A maintainer can push the branch to this repository instead.",
)
SMALL_MACHINE = Check(
    "MLP541",
    Severity.WARNING,
    "the runner asks for more than the service's ordinary machine has",
    "Without labels a job runs on the machine that the service gives to everyone. Name a larger one by its"
    ' label, as in `github = ["ubuntu-latest-16-cores"]` or `gitlab = ["saas-linux-large-amd64"]`.',
)
LABELS = Check(
    "MLP542",
    Severity.ERROR,
    "runner labels that the service does not take",
    "Bitbucket takes at most 10 labels of at most 50 characters, and a step on a runner of your own needs"
    " `self.hosted` among them.",
)
ENVIRONMENT_TWICE = Check(
    "MLP543",
    Severity.ERROR,
    "two steps of one pipeline deploy to the same environment",
    "Bitbucket takes each deployment environment once in a pipeline. Use two environments, or two events.",
)
SAME_TRIGGER = Check(
    "MLP544",
    Severity.ERROR,
    "two events start on the same thing",
    "Bitbucket starts exactly one pipeline for a branch, a tag or a pull request. Join the two events, or"
    " give them different patterns.",
)
DUPLICATE = Check(
    "MLP545",
    Severity.WARNING,
    "a push to a pull request starts two pipelines",
    "Bitbucket starts the branch's pipeline and the pull request's for the same commit. Give `on push` the"
    ' branch that it is for, as in `on push("main")`.',
)
GPU_TOO_SMALL = Check(
    "MLP546",
    Severity.ERROR,
    "the service's GPU machine is not what the runner asks for",
    "GitLab's hosted GPU machine has one T4 with 16 GiB. Ask for no more, or use a runner of your own.",
)

SHARED: tuple[Check, ...] = (
    NO_LABEL, TIMEOUT, CRON, CRON_SERVICE, ZONE, INPUTS, TOO_MANY_JOBS, NAME_LENGTH, FILE_SIZE, SMALL_MACHINE,
)  # fmt: skip

_DURATIONS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def labels(runner: Runner | None, service: str) -> tuple[str, ...]:
    """The labels that `runner` has at `service` (`github gitlab bitbucket`)."""
    return dict(runner.labels).get(service, ()) if runner else ()


def runner_of(pipeline: Pipeline, job: Job) -> Runner | None:
    """The runner that `job` wants; None: any machine."""
    return next((r for r in pipeline.runners if r.name == job.runner), None)


def place_of(pipeline: Pipeline, job: Job, workflow: Workflow) -> Place:
    """Where in the source `job` comes from: its last stage, its action, else its event."""
    if job.stages:
        return next(s.place for s in pipeline.stages if s.id == job.stages[-1])
    if job.kind is JobKind.ACTION:
        return next(a.place for a in pipeline.actions if a.name == job.action)
    return workflow.event.place


def shared(
    workflows: tuple[Workflow, ...], pipeline: Pipeline, settings: Settings, limits: Limits, service: str
) -> Iterator[Diagnostic]:
    """The findings that do not depend on the text made. `service` is the name of the runner's label list."""
    seen: set[str] = set()
    for workflow in workflows:
        yield from _event(workflow, settings, limits)
        if limits.jobs is not None and len(workflow.jobs) > limits.jobs:
            message = f"`{workflow.id}` needs {len(workflow.jobs)} jobs; {limits.service} takes {limits.jobs}"
            yield Diagnostic.of(TOO_MANY_JOBS, message, settings.locate(workflow.event.place))
        for job in workflow.jobs:
            for finding in _runner(pipeline, job, settings, limits, service):
                if finding.message not in seen:
                    seen.add(finding.message)
                    yield finding


def size(
    files: Iterable[GeneratedFile], pipeline: Pipeline, settings: Settings, limits: Limits
) -> Iterator[Diagnostic]:
    """A finding for each file that the service would not read."""
    for file in files:
        length = len(file.text.encode())
        if limits.file_size is not None and length > limits.file_size:
            message = (
                f"`{file.path}` would have {length:,} bytes; {limits.service} reads {limits.file_size:,}"
            )
            yield Diagnostic.of(FILE_SIZE, message, settings.locate(pipeline.events[0].place))


def duration(seconds: int) -> str:
    """`90` as `90s`, `5400` as `90m`, `7200` as `2h`: the largest unit that leaves nothing over."""
    unit, name = next((u, n) for u, n in _DURATIONS if seconds % u == 0)
    return f"{seconds // unit}{name}"


def minutes(job: Job, limits: Limits) -> int:
    """The job's time limit in whole minutes, rounded up."""
    return -(-(job.timeout or limits.default_timeout) // 60)


def cron_of(workflow: Workflow) -> Cron | None:
    """The event's schedule; None where there is none or it is wrong, which `shared` reports."""
    try:
        return parse_cron(workflow.event.cron or "")
    except CronError:
        return None


def _event(workflow: Workflow, settings: Settings, limits: Limits) -> Iterator[Diagnostic]:
    event, at = workflow.event, settings.locate(workflow.event.place)
    if limits.inputs is not None and len(workflow.inputs) > limits.inputs:
        message = f"{len(workflow.inputs)} inputs; {limits.service}'s form takes {limits.inputs}"
        yield Diagnostic.of(INPUTS, message, at, help="ask for fewer parameters")
    if event.cron is None:
        return
    try:
        cron = parse_cron(event.cron)
    except CronError as e:
        yield Diagnostic.of(CRON, f"the cron expression `{event.cron}` {e}", at, help='as in "17 3 * * 1-5"')
        return
    if cron.never():
        yield Diagnostic.of(CRON, f"the cron expression `{event.cron}` fits no date", at)
    elif limits.cron_gap is not None and cron.gap() < limits.cron_gap:
        message = (
            f"`{event.cron}` starts every {duration(cron.gap())}; "
            f"{limits.service} takes no less than {duration(limits.cron_gap)}"
        )
        yield Diagnostic.of(CRON_SERVICE, message, at)
    if event.zone is not None and not _known(event.zone):
        yield Diagnostic.of(ZONE, f"there is no time zone `{event.zone}`", at, help='as in "Europe/Paris"')


def _known(zone: str) -> bool:
    if not available_timezones():
        return True  # no time zone database on this machine: nothing can be said
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        return False
    return True


def _runner(
    pipeline: Pipeline, job: Job, settings: Settings, limits: Limits, service: str
) -> Iterator[Diagnostic]:
    runner = runner_of(pipeline, job)
    own = labels(runner, service)
    longest = limits.own_timeout if own else limits.hosted_timeout
    if job.timeout is not None and longest is not None and job.timeout > longest:
        whose = f"{limits.service} ends a job after {duration(longest)}"
        at = runner.place if runner and runner.timeout else _slowest(pipeline, job).place
        message = f"`{job.id}` may take {duration(job.timeout)}; {whose}"
        yield Diagnostic.of(TIMEOUT, message, settings.locate(at), help=_longer(own, service))
    if runner is None or own:
        return
    at_runner = settings.locate(runner.place)
    if runner.gpu is not None:
        message = f"runner `{runner.name}` wants a GPU and has no `{service}` labels"
        yield Diagnostic.of(
            NO_LABEL, message, at_runner, help=f'add `{service} = ["..."]`, the labels of a machine'
        )
    elif _more(runner.cpu, limits.hosted_cpu) or _more(runner.memory, limits.hosted_memory):
        message = f"runner `{runner.name}` asks for more than {limits.service}'s ordinary machine has"
        yield Diagnostic.of(SMALL_MACHINE, message, at_runner, help=f"name a larger one: `{service} = [...]`")


def _longer(own: tuple[str, ...], service: str) -> str:
    if own:
        return "set a shorter `timeout`"
    return f"set a shorter `timeout`, or use a runner of your own by `{service} = [...]`"


def _slowest(pipeline: Pipeline, job: Job) -> Stage:
    stages = [s for s in pipeline.stages if s.id in job.stages]
    return max(stages, key=lambda s: (s.timeout or 0) * (s.retry + 1))


def _more(wanted: int | None, there: int | None) -> bool:
    return wanted is not None and there is not None and wanted > there
