"""What a service cannot do with a workflow, found before a push. The rules that services share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mlflowc.backends.limits import Limits

from mlflowc.cron import Cron, CronError, parse_cron
from mlflowc.diagnostic import Check, Diagnostic, Severity, explanation
from mlflowc.ir.model import Pipeline, Place, Runner, Stage
from mlflowc.jobs.model import Job, JobKind, Workflow
from mlflowc.target import GeneratedFile, Settings

_A = 'stage a {\n  out x = "x.csv"\n  run = "touch {{x}}"\n}\n'


def _asking(count: int) -> str:
    params = "\n".join(f"param p{n}: int = 1" for n in range(count))
    used = ", ".join(f"p{n}" for n in range(count))
    asked = ", ".join(f"input p{n}: int = 1" for n in range(count))
    stage = f'stage a {{\n  param {used}\n  out x = "x.csv"\n  run = "touch {{{{x}}}}"\n}}'
    return f"{params}\n{stage}\non manual {{ {asked}, run = [a] }}"


def _instances(side: int) -> str:
    values = ", ".join(f'"{n}"' for n in range(side))
    stage = 'out x = "{{m}}-{{n}}.csv"\n  run = "touch {{x}}"'
    return (
        f"stage a each m in [{values}] each n in [{values}] {{\n  {stage}\n}}\n"
        'on push("main") { run = [a] }'
    )


def _publishing(second: str) -> str:
    actions = "\n".join(
        f'action {name} {{\n  in a.x\n  approve = "{place}"\n  run = "scp {{{{x}}}} host:"\n}}'
        for name, place in (("publish", "production"), ("announce", second))
    )
    return f'{_A}{actions}\non push("main") {{ run = [publish, announce] }}'


NO_LABEL = Check(
    "MLP530",
    Severity.ERROR,
    "a GPU stage has no runner at this service",
    explanation(
        """
        A stage that wants a GPU needs a machine that has one. Which, only you know: a service finds it by
        the labels of its runner, so the runner has to say them for every service that you build for.
        """,
        """
        runner big { gpu = gpu(1, "A10G") }
        stage a {
          runner = big
          out x = "x.csv"
          run = "touch {{x}}"
        }
        on push("main") { run = [a] }
        """,
        """
        runner big {
          gpu       = gpu(1, "A10G")
          github    = ["self-hosted", "gpu"]
          gitlab    = ["gpu"]
          bitbucket = ["self.hosted", "linux", "gpu"]
        }
        stage a {
          runner = big
          out x = "x.csv"
          run = "touch {{x}}"
        }
        on push("main") { run = [a] }
        """,
    ),
)
TIMEOUT = Check(
    "MLP531",
    Severity.ERROR,
    "a timeout is longer than the service lets a job run",
    explanation(
        """
        The service ends the job at its own limit, whatever the file says, so the stage would be lost at
        that moment. Runners of your own, named by label, may take longer.
        """,
        """
        stage a {
          timeout = 20h
          out x = "x.csv"
          run = "touch {{x}}"
        }
        on push("main") { run = [a] }
        """,
        """
        stage a {
          timeout = 2h
          out x = "x.csv"
          run = "touch {{x}}"
        }
        on push("main") { run = [a] }
        """,
    ),
)
CRON_SERVICE = Check(
    "MLP532",
    Severity.ERROR,
    "a schedule that this service does not take",
    explanation(
        """
        Bitbucket's schedules (Quartz) cannot hold a day of the month and a day of the week at once.
        """,
        """
        stage a {
          out x = "x.csv"
          run = "touch {{x}}"
        }
        on schedule("17 3 1 * 1") { run = [a] }
        """,
        """
        stage a {
          out x = "x.csv"
          run = "touch {{x}}"
        }
        on schedule("17 3 * * 1") { run = [a] }
        """,
    ),
)
ZONE_IGNORED = Check(
    "MLP533",
    Severity.WARNING,
    "the service knows no time zones",
    explanation(
        """
        Bitbucket's schedules are in UTC. The expression is taken as it stands, so it starts at that time in
        UTC.
        """,
        """
        stage a {
          out x = "x.csv"
          run = "touch {{x}}"
        }
        on schedule("17 3 * * *", zone = "Europe/Paris") { run = [a] }
        """,
        """
        stage a {
          out x = "x.csv"
          run = "touch {{x}}"
        }
        on schedule("17 3 * * *") { run = [a] }
        """,
    ),
)
INPUTS = Check(
    "MLP534",
    Severity.ERROR,
    "more inputs than the service's form takes",
    explanation(
        "GitHub's form takes 25 inputs. What is not asked for keeps the value of the parameter file.",
        _asking(26),
        _asking(3),
    ),
)
TOO_MANY_JOBS = Check(
    "MLP535",
    Severity.ERROR,
    "more jobs than the service takes in one pipeline",
    explanation(
        """
        Each chain of stages with its own runner, environment or parallel branch becomes a job, and
        Bitbucket takes 100 steps in a pipeline. Run fewer in one event, or make fewer instances.
        """,
        _instances(11),
        _instances(2),
    ),
)
NAME_LENGTH = Check(
    "MLP536",
    Severity.ERROR,
    "a generated name is too long for the service",
    explanation(
        "Jobs, caches and files are named after the pipeline, the event and the stage: give a shorter name.",
        _A + f'on push("release/{"candidate-" * 12}x") {{ run = [a] }}',
        _A + 'on push("release/*") { run = [a] }',
    ),
)
FILE_SIZE = Check(
    "MLP537",
    Severity.ERROR,
    "the generated file is larger than the service reads",
    explanation(
        "A service reads a file of some hundred kilobytes at most. Run fewer stages in one event.",
        _instances(20),
        _instances(2),
    ),
)
SMALL_MACHINE = Check(
    "MLP538",
    Severity.WARNING,
    "the runner asks for more than the service's ordinary machine has",
    explanation(
        """
        Without labels a job runs on the machine that the service gives to everyone. Name a larger one by its
        label.
        """,
        """
        runner big { cpu = 64 }
        stage a {
          runner = big
          out x = "x.csv"
          run = "touch {{x}}"
        }
        on push("main") { run = [a] }
        """,
        """
        runner big {
          cpu    = 64
          github = ["ubuntu-64-cores"]
          gitlab = ["saas-linux-2xlarge-amd64"]
        }
        stage a {
          runner = big
          out x = "x.csv"
          run = "touch {{x}}"
        }
        on push("main") { run = [a] }
        """,
    ),
)
LABELS = Check(
    "MLP539",
    Severity.ERROR,
    "runner labels that the service does not take",
    explanation(
        """
        A Bitbucket step on a runner of your own needs `self.hosted` among its labels, of which there may be
        10 with at most 50 characters each.
        """,
        """
        runner own { bitbucket = ["linux"] }
        stage a {
          runner = own
          out x = "x.csv"
          run = "touch {{x}}"
        }
        on push("main") { run = [a] }
        """,
        """
        runner own { bitbucket = ["self.hosted", "linux"] }
        stage a {
          runner = own
          out x = "x.csv"
          run = "touch {{x}}"
        }
        on push("main") { run = [a] }
        """,
    ),
)
ENVIRONMENT_TWICE = Check(
    "MLP540",
    Severity.ERROR,
    "two steps of one pipeline deploy to the same environment",
    explanation(
        "Bitbucket takes an environment once in a pipeline. Use two environments, or two events.",
        _publishing("production"),
        _publishing("staging"),
    ),
)
SAME_TRIGGER = Check(
    "MLP541",
    Severity.ERROR,
    "two events start on the same thing",
    explanation(
        """
        Bitbucket starts exactly one pipeline for a branch, a tag or a pull request: two events with the same
        pattern cannot both have it. Join them into one.
        """,
        _A + 'on push("main") { run = [a] }\non push("main") { run = [a], paths = ["data/**"] }',
        _A + 'on push("main") { run = [a] }',
    ),
)
DUPLICATE = Check(
    "MLP542",
    Severity.WARNING,
    "a push to a pull request starts two pipelines",
    explanation(
        """
        Bitbucket starts the branch's pipeline and the pull request's for the same commit. Give `on push` the
        branch that it is for.
        """,
        _A + "on pull_request { run = [a] }\non push { run = [a] }",
        _A + 'on pull_request { run = [a] }\non push("main") { run = [a] }',
    ),
)
GPU_TOO_SMALL = Check(
    "MLP543",
    Severity.ERROR,
    "the service's GPU machine is not what the runner asks for",
    explanation(
        "GitLab's hosted GPU machine has one T4 with 16 GiB. Ask for no more, or name runners of your own.",
        """
        runner big {
          gpu    = gpu(2, "A100")
          gitlab = ["saas-linux-medium-amd64-gpu-standard"]
        }
        stage a {
          runner = big
          out x = "x.csv"
          run = "touch {{x}}"
        }
        on push("main") { run = [a] }
        """,
        """
        runner small {
          gpu    = gpu(1, "T4")
          gitlab = ["saas-linux-medium-amd64-gpu-standard"]
        }
        stage a {
          runner = small
          out x = "x.csv"
          run = "touch {{x}}"
        }
        on push("main") { run = [a] }
        """,
    ),
)

SHARED: tuple[Check, ...] = (
    NO_LABEL,
    TIMEOUT,
    CRON_SERVICE,
    INPUTS,
    TOO_MANY_JOBS,
    NAME_LENGTH,
    FILE_SIZE,
    SMALL_MACHINE,
)

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
    """The event's schedule; None where there is none (or a wrong one, which the compiler refuses)."""
    try:
        return parse_cron(workflow.event.cron or "")
    except CronError:
        return None


def _event(workflow: Workflow, settings: Settings, limits: Limits) -> Iterator[Diagnostic]:
    at = settings.locate(workflow.event.place)
    if limits.inputs is not None and len(workflow.inputs) > limits.inputs:
        message = f"{len(workflow.inputs)} inputs; {limits.service}'s form takes {limits.inputs}"
        yield Diagnostic.of(INPUTS, message, at, help="ask for fewer parameters")
    cron = cron_of(workflow)
    if cron is not None and limits.cron_gap is not None and cron.gap() < limits.cron_gap:
        message = (
            f"`{cron.text}` starts every {duration(cron.gap())}; "
            f"{limits.service} takes no less than {duration(limits.cron_gap)}"
        )
        yield Diagnostic.of(CRON_SERVICE, message, at)


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
