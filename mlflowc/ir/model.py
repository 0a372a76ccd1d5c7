"""The typed pipeline as a value: frozen, complete, and free of source text and spans.

Everything behind the compiler (runtime, jobs, backends, reports) reads this and nothing else.
All paths are POSIX, relative to the project folder (the folder of the `.mlpipe` file). Durations are
seconds, sizes are bytes. Collections are tuples in a stable order, so that equal sources give equal
IRs, byte for byte, in JSON.
"""

from __future__ import annotations

from typing import TypeAlias, Union

from mlflowc.frozen import dataclass, may_be_late

# A literal of the language or of a parameter file. Lists are tuples.
Value: TypeAlias = Union[int, float, str, bool, tuple["Value", ...], dict[str, "Value"], None]  # noqa: UP007


# --- types -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ScalarType:
    """`int float str bool duration size enum list`; `optional` for `T?`.

    `values` are those of an `enum`, `element` is that of a `list`.
    """

    name: str
    optional: bool = False
    values: tuple[str, ...] = ()
    element: ScalarType | None = None


@dataclass(frozen=True, slots=True)
class Constraint:
    """One constraint of a column, a table, a metrics field or a parameter.

    `op` is `unique`, `in` (`values`), `range` (`low`, `high`, both inclusive), `matches` (`pattern`),
    `null` (`high`: the largest share of nulls, 0..1) or `rows` (`low` <= rows <= `high`). Of a metrics
    field it may also be `minimize` or `maximize`: they forbid no value, and say when it is better.
    """

    op: str
    values: tuple[int | float | str | bool, ...] = ()
    low: float | int | None = None
    high: float | int | None = None
    pattern: str | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table or a field of metrics."""

    name: str
    type: ScalarType
    constraints: tuple[Constraint, ...] = ()


@dataclass(frozen=True, slots=True)
class FileType:
    """What a file holds.

    `kind` is one of `path file text csv tsv jsonl json yaml markdown html parquet arrow image notebook
    model archive sqlite metrics dir`. `columns` are those of a table, or the fields of `metrics`;
    `constraints` hold for the whole table; `element` is the `T` of `dir[T]`; `name` is the name that
    the source gave it (`Customers`), for messages only.
    """

    kind: str
    columns: tuple[Column, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    element: FileType | None = None
    name: str | None = None


# --- stages ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StageOutput:
    """The output `output` of the stage whose id is `stage`."""

    stage: str
    output: str


@dataclass(frozen=True, slots=True)
class DataRef:
    """The data source named `data`."""

    data: str


@dataclass(frozen=True, slots=True)
class PathRef:
    """A file or folder of the repository."""

    path: str


@dataclass(frozen=True, slots=True)
class GlobRef:
    """Files of the repository that match a glob (`**` crosses folders), taken in sorted order."""

    pattern: str


@dataclass(frozen=True, slots=True)
class AssetRef:
    """A file of the standard library, such as a component's program. The tool brings it along.

    `name` is what it is called there (`drift.py`), `hash` is the BLAKE3 of its bytes. Before a command reads
    it, it is put at `path`, which says the hash, too.
    """

    name: str
    path: str
    hash: str


InputSource = StageOutput | DataRef | PathRef | GlobRef | AssetRef


@dataclass(frozen=True, slots=True)
class Input:
    """An input by content. `many`: it is a list (`train[*].model`, a glob), and `{{name}}` is all paths."""

    name: str
    type: FileType
    sources: tuple[InputSource, ...]
    many: bool = False


@dataclass(frozen=True, slots=True)
class Output:
    """A file or folder that the command writes."""

    name: str
    type: FileType
    path: str


@dataclass(frozen=True, slots=True)
class Keep:
    """A path that lives on between tries and runs; never part of the key or the result."""

    name: str
    path: str


@dataclass(frozen=True, slots=True)
class Slot:
    """A placeholder. In a command `kind` is `input output keep param each`, or `inputs outputs params`: then
    `name` is a list of names with commas between, and the placeholder a JSON object with the value of each.

    In text it may also be `metric` (`name` is `stage.output.field`), `rows` (`stage.output`).
    """

    kind: str
    name: str


Template = tuple[str | Slot, ...]


@dataclass(frozen=True, slots=True)
class Code:
    """Which source files count as code: `mode` is `auto`, `none` or `paths`; `key` is `bytes` or `ast`."""

    mode: str = "auto"
    paths: tuple[str, ...] = ()
    key: str = "bytes"


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was declared, for messages at run time. Never part of a key."""

    file: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
@may_be_late
class Stage:
    """A cached step. One instance of `each` is one stage.

    `id` is unique: the declared `name`, and for an instance the name with its values, `train[de]`
    (`train[de,small]` for two). `each` holds the instance's variables. `params` are the dotted names of
    parameters that enter the key, all expanded (`train.*` has become its members), sorted.
    `commands` are run one after the other under `bash -euo pipefail`, in `dir` if given.

    `bound` holds values of parameters that are those of this stage alone: a trial of a sweep has them.
    `sweep` names the sweep that this stage carries out, in place of commands: see `mlflowc.ir.sweeps`.
    `auth` are the providers whose short-lived credentials its commands get.
    """

    id: str
    name: str
    place: Place
    inputs: tuple[Input, ...] = ()
    params: tuple[str, ...] = ()
    outputs: tuple[Output, ...] = ()
    keeps: tuple[Keep, ...] = ()
    env: str | None = None
    runner: str | None = None
    timeout: int | None = None
    retry: int = 0
    secrets: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    code: Code = Code()
    dir: str | None = None
    each: tuple[tuple[str, str | int | float | bool], ...] = ()
    commands: tuple[Template, ...] = ()
    bound: tuple[tuple[str, Value], ...] = ()
    sweep: str | None = None
    auth: tuple[str, ...] = ()


# --- around the stages -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter under its dotted name. `file` is where its value was read (None: declared in place)."""

    name: str
    type: ScalarType
    value: Value
    file: str | None = None
    constraints: tuple[Constraint, ...] = ()


@dataclass(frozen=True, slots=True)
class Env:
    """What a stage runs in. At most one of `requirements`, `lock`, `conda`, `image` is set; none: the host.

    `vars` are set for the command; `passed` are host variables that it may see. Both are in the key.
    """

    name: str
    place: Place
    python: str | None = None
    requirements: str | None = None
    lock: str | None = None
    conda: str | None = None
    image: str | None = None
    vars: tuple[tuple[str, str], ...] = ()
    passed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gpu:
    """`count` devices of `model` (None: any) with at least `memory` bytes each."""

    count: int = 1
    model: str | None = None
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class Cloud:
    """A machine to be launched: `provider` is `aws gcp azure kubernetes slurm`; `options` as written."""

    provider: str
    options: tuple[tuple[str, Value], ...] = ()


@dataclass(frozen=True, slots=True)
class Runner:
    """Where a stage runs. `labels` maps `github gitlab bitbucket` to the labels of that service's runners.
    `price` is what an hour costs, in whatever currency: reports tell it, nothing else reads it."""

    name: str
    place: Place
    cpu: int | None = None
    memory: int | None = None
    disk: int | None = None
    gpu: Gpu | None = None
    timeout: int | None = None
    cloud: Cloud | None = None
    labels: tuple[tuple[str, tuple[str, ...]], ...] = ()
    price: float | None = None


@dataclass(frozen=True, slots=True)
class Data:
    """An external input. `source` is `path dvc registry url git huggingface sql deployed`.

    `args` are the call's arguments by name; for `path` the only one is `path`.
    """

    name: str
    place: Place
    type: FileType
    source: str
    args: tuple[tuple[str, Value], ...]


@dataclass(frozen=True, slots=True)
class Cache:
    """Where results are shared. `write` is `trusted`, `all` or `none`.

    `keys` are public keys whose signatures are good, and with `require_signature` a result in `trusted`
    counts only with one. `secrets` are names of the remote's credentials, which generated jobs are given.
    `folder` is a cache that several checkouts of this machine share. `link` says what large outputs share
    with the cache: `auto`, `reflink`, `hardlink` or `copy`.
    """

    remote: str | None = None
    write: str = "trusted"
    options: tuple[tuple[str, Value], ...] = ()
    keys: tuple[str, ...] = ()
    require_signature: bool = False
    secrets: tuple[str, ...] = ()
    folder: str | None = None
    link: str = "auto"


@dataclass(frozen=True, slots=True)
class Auth:
    """Short-lived credentials at `provider` (`aws gcp azure`) through the CI service's OIDC: see
    `mlflowc.ir.identity`, also for `options`."""

    provider: str
    options: tuple[tuple[str, Value], ...] = ()


@dataclass(frozen=True, slots=True)
class Ci:
    """How generated jobs get this tool: `install` is what `uv tool install` takes (None: the released
    version that wrote the file), `python` the version to run it on, `branch` the protected main branch.
    `comments` and `statuses` say whether the jobs of a pull request write reports as its comments, and gates
    as its commit statuses."""

    install: str | None = None
    python: str = "3.11"
    branch: str = "main"
    comments: bool = True
    statuses: bool = True


# --- gates, reports, actions, events -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Number:
    """A literal in a gate; `unit` is ``""``, ``%``, ``s`` (durations, in seconds) or ``B`` (sizes, in bytes).
    A percentage keeps its written value: `5%` is `Number(5, "%")`."""

    value: int | float
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Metric:
    """A field of a metrics output: of every listed stage instance (`many`), or of the only one.

    `baseline` is None for the current run, else a revision; `missing` (`fail` or `pass`) says what holds
    where that revision has no such metric. With `data` it is a field of that data source, and `stages` and
    `output` are empty. `lower` is whether less of it is better, `unit` that of its type
    (``""``, `s` or `B`).
    """

    stages: tuple[str, ...]
    output: str
    field: str
    many: bool = False
    baseline: str | None = None
    missing: str = "pass"
    lower: bool = False
    unit: str = ""
    data: str | None = None


@dataclass(frozen=True, slots=True)
class ParamRef:
    """The value of a parameter, in a gate."""

    name: str


@dataclass(frozen=True, slots=True)
class Rows:
    """The number of rows of a table output."""

    stage: str
    output: str


@dataclass(frozen=True, slots=True)
class Unary:
    """`op` is `-` or `not`."""

    op: str
    operand: Expr


@dataclass(frozen=True, slots=True)
class Binary:
    """`op` is `+ - * / < <= > >= == != and or`."""

    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Call:
    """`mean min max abs sum std` with positional arguments; `better` and `no_worse` with a metric and the
    options `than` (a metric or a number), `by` and `confidence` (numbers)."""

    function: str
    args: tuple[Expr, ...]
    options: tuple[tuple[str, Expr], ...] = ()


Expr = Number | Metric | ParamRef | Rows | Unary | Binary | Call


@dataclass(frozen=True, slots=True)
class Requirement:
    """One `require` of a gate. `text` is the expression as the formatter writes it; `message` the `else`."""

    expr: Expr
    text: str
    place: Place
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Gate:
    """Requirements over metrics. `stages` are the stages whose metrics it reads now, sorted."""

    name: str
    place: Place
    requirements: tuple[Requirement, ...]
    stages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReportItem:
    """One line of a report, in the order written.

    `kind` is `metrics`, `params`, `plot`, `image`, `notebook`, `text`, `data`, `stages` or `graph`. `refs`
    are the outputs shown (all instances of a `[*]`), `vs` the revision compared with, `template` the text of
    `text`, `options` the settings of a nested block (`x`, `y`, `title`, ...).
    """

    kind: str
    refs: tuple[StageOutput, ...] = ()
    vs: str | None = None
    options: tuple[tuple[str, Value], ...] = ()
    template: Template = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What a reviewer sees. `stages` are the stages that it shows, sorted."""

    name: str
    place: Place
    items: tuple[ReportItem, ...]
    stages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Action:
    """An effect: never cached, run only by an event that names it. `approve` is a protected environment,
    `auth` as for a stage."""

    name: str
    place: Place
    inputs: tuple[Input, ...] = ()
    params: tuple[str, ...] = ()
    env: str | None = None
    runner: str | None = None
    timeout: int | None = None
    secrets: tuple[str, ...] = ()
    approve: str | None = None
    after: tuple[str, ...] = ()
    dir: str | None = None
    commands: tuple[Template, ...] = ()
    auth: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EventInput:
    """A parameter that a person may set when starting a `manual` event; `default` of the declared type."""

    name: str
    type: ScalarType
    default: Value


@dataclass(frozen=True, slots=True)
class Event:
    """When something runs, and what.

    `id` is unique and fit for a file name: `pull-request`, `push-main`, `tag-v`, `schedule-1`, `manual`.
    `kind` is `pull_request push tag schedule manual`. `pattern` is the branch or tag pattern (None: any),
    `cron` and `zone` those of a schedule. `run` names stages (ids), gates, reports, actions and sweeps, as
    written; `with_params` are parameter values that hold under this event only. `propose`: new results
    become a pull request, where all gates of `run` hold.
    """

    id: str
    kind: str
    place: Place
    run: tuple[str, ...]
    pattern: str | None = None
    cron: str | None = None
    zone: str | None = None
    paths: tuple[str, ...] = ()
    refresh: tuple[str, ...] = ()
    with_params: tuple[tuple[str, Value], ...] = ()
    inputs: tuple[EventInput, ...] = ()
    propose: bool = False


@dataclass(frozen=True, slots=True)
class Vary:
    """One axis of a sweep: `values` for a list; else `low`, `high` and `scale` (`linear` or `log`)."""

    param: str
    values: tuple[Value, ...] = ()
    low: float | int | None = None
    high: float | int | None = None
    scale: str = "linear"


@dataclass(frozen=True, slots=True)
class Sweep:
    """A search over parameters of `stage`. `goal` is `maximize` or `minimize` of `output.field`."""

    name: str
    place: Place
    stage: str
    vary: tuple[Vary, ...]
    search: str
    options: tuple[tuple[str, Value], ...]
    parallel: int
    goal: str
    output: str
    field: str


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Everything that one `.mlpipe` file and the files it uses say.

    `stages` are in a topological order (ties by place in the source). `sources` are the files whose text
    decides this value. Look-ups by name go through `mlflowc.ir.graph.Index`.
    """

    name: str
    edition: int
    file: str
    sources: tuple[str, ...] = ()
    params: tuple[Param, ...] = ()
    envs: tuple[Env, ...] = ()
    runners: tuple[Runner, ...] = ()
    data: tuple[Data, ...] = ()
    stages: tuple[Stage, ...] = ()
    sweeps: tuple[Sweep, ...] = ()
    gates: tuple[Gate, ...] = ()
    reports: tuple[Report, ...] = ()
    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    auths: tuple[Auth, ...] = ()
    cache: Cache = Cache()
    ci: Ci = Ci()
