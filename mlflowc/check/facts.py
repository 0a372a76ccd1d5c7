"""What several rules want to know of a typed pipeline, found once."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeAlias

from mlflowc.check import shellwords
from mlflowc.check.model import Checked, Part, Step, Text
from mlflowc.check.shellwords import Command, Word
from mlflowc.cron import Cron, CronError, parse_cron
from mlflowc.ir import model as ir
from mlflowc.resolve.loader import Loader
from mlflowc.span import Span

AnyStep: TypeAlias = Step[ir.Stage] | Step[ir.Action]

_PYTHON = re.compile(r"(?:.*/)?python(?:3(?:\.\d+)?)?")
_SHELLS = frozenset(["bash", "sh", "zsh", "Rscript", "julia", "node", "ruby", "perl"])
_LAUNCHERS = frozenset(["torchrun", "accelerate", "deepspeed", "horovodrun", "mpirun", "papermill"])
_ADDRESS = re.compile(r"(?:https?|s3|gs|az|ssh|sftp|ftp|file|hdfs|abfss?):/")
_SCRIPT = re.compile(r"[^-=]\S*\.(?:py|sh|bash|R|jl|ipynb|js|rb|pl)")
# Programs that read what stands on their command line, and nothing by habit.
_TOOLS = """
    [ awk base64 basename bzip2 cat chmod comm cp curl cut date diff dirname du echo env expr false fmt fold
    grep gunzip gzip head install join jq ln ls md5sum mkdir mktemp mv nl od paste printf pwd rm rsync sed seq
    sha256sum shuf sleep sort split stat tac tail tar tee test touch tr true uname uniq unzip wc wget xz yes
    zcat zip
"""
_VISIBLE = frozenset(_TOOLS.split())


class Written(NamedTuple):
    """An output and where it goes, normalised (`a/./b/` is `a/b`)."""

    path: str
    part: Part[ir.Output]
    step: Step[ir.Stage]


def ident(step: AnyStep) -> str:
    """A stage's id, an action's name."""
    return step.value.id if isinstance(step.value, ir.Stage) else step.value.name


def places(step: AnyStep) -> tuple[Part[ir.Output] | Part[ir.Keep], ...]:
    """All that a step writes below a path of its own."""
    return (*step.outputs, *step.keeps)


def normal(path: str) -> str:
    """`path` without `.` parts, doubled and trailing slashes; `..` parts are resolved where they can be."""
    return posixpath.normpath(path) if path else path


def is_address(path: str) -> bool:
    """Whether a path is the address of something elsewhere, `s3://…`; also when normalised to `s3:/…`."""
    return _ADDRESS.match(path) is not None


def within(path: str, folder: str) -> bool:
    """Whether normalised `path` lies in normalised `folder`, or is it."""
    return path == folder or folder == "." or path.startswith(folder + "/")


class Schedule(NamedTuple):
    """An event that a cron starts: how that is written, what it means, and where it stands."""

    text: str
    cron: Cron
    span: Span


@dataclass(frozen=True)
class Facts:
    """A typed pipeline, its project's files, and what follows from both."""

    typed: Checked
    loader: Loader

    @cached_property
    def schedules(self) -> tuple[Schedule, ...]:
        """All events with a cron that can be read, in the order of the source."""
        found = []
        for event in self.typed.events:
            if event.value.cron is None:
                continue
            with suppress(CronError):  # another rule's
                cron = parse_cron(event.value.cron)
                found.append(Schedule(event.value.cron, cron, event.settings.get("cron", event.span)))
        return tuple(found)

    def sensitive(self, step: AnyStep) -> tuple[str, ...]:
        """What the commands of a step have that code which nobody has reviewed should not: secrets, and
        credentials of providers that do not know pull requests apart. In words."""
        auths = {b.value.provider: dict(b.value.options) for b in self.typed.auths}
        loose = (p for p in step.value.auth if p in auths and not auths[p].get("pull_request"))
        return (*(f"`{s}`" for s in step.value.secrets), *(f"credentials of `{p}`" for p in loose))

    def given(self, step: AnyStep) -> Span:
        """Where a step says that it has them."""
        return step.settings.get("secrets" if step.value.secrets else "auth", step.span)

    @cached_property
    def written(self) -> tuple[Written, ...]:
        """All outputs of all stages, in the order of the source."""
        return tuple(
            Written(normal(part.value.path), part, step)
            for step in self.typed.stages
            for part in step.outputs
        )

    @cached_property
    def writers(self) -> dict[str, Written]:
        """The first output at each path."""
        found: dict[str, Written] = {}
        for item in self.written:
            found.setdefault(item.path, item)
        return found

    @cached_property
    def stages(self) -> dict[str, Step[ir.Stage]]:
        """Stages by id."""
        return {step.value.id: step for step in self.typed.stages}

    @property
    def steps(self) -> Iterator[AnyStep]:
        """Stages, then actions."""
        yield from self.typed.stages
        yield from self.typed.actions

    def writer_of(self, path: str) -> Written | None:
        """The output that makes normalised `path`: at it, or a folder around it."""
        while path and path not in ("/", "."):
            found = self.writers.get(path)
            if found is not None:
                return found
            path = posixpath.dirname(path)
        return None

    def inside(self, folder: str) -> Iterator[Written]:
        """The outputs inside normalised `folder`, by path."""
        prefix = "" if folder == "." else folder + "/"
        for path in self._paths[bisect_left(self._paths, prefix) :]:
            if not path.startswith(prefix):
                return
            yield self.writers[path]

    def read_by(self, source: ir.InputSource) -> Iterator[Written]:
        """The outputs that an input by path or glob would read: at it, around it, in it."""
        if isinstance(source, ir.PathRef):
            path = normal(source.path)
            around = self.writer_of(path)
            yield from self.inside(path) if around is None else (around,)
        elif isinstance(source, ir.GlobRef):
            folder, wanted = _glob(source.pattern)
            around = self.writer_of(folder)
            if around is not None:
                yield around
                return
            yield from (item for item in self.inside(folder) if wanted.fullmatch(item.path))

    @cached_property
    def _paths(self) -> list[str]:
        return sorted(self.writers)

    def exists(self, path: str) -> bool:
        """Whether the project has a file or folder at `path`."""
        return self.loader.kind(normal(path)) != "missing"

    def used(self, kind: str) -> frozenset[str]:
        """The names of `kind` that something refers to."""
        return self._used.get(kind, frozenset())

    @cached_property
    def _used(self) -> dict[str, frozenset[str]]:
        names: dict[str, set[str]] = {}
        for reference in self.typed.references:
            names.setdefault(reference.kind, set()).add(reference.name)
        return {kind: frozenset(found) for kind, found in names.items()}

    def upstream(self, ids: Iterable[str]) -> set[str]:
        """Those stages and all that they need. A sweep stands for the stage that it varies."""
        sweeps = {block.value.name: block.value.stage for block in self.typed.sweeps}
        found: set[str] = set()
        todo = [sweeps.get(id, id) for id in ids]
        while todo:
            id = todo.pop()
            step = self.stages.get(id)
            if step is None or id in found:
                continue
            found.add(id)
            todo += [sweeps.get(n, n) for n in (*_sources(step), *step.value.after)]
        return found

    def sources_of(self, id: str) -> tuple[str, ...]:
        """The ids of the stages and sweeps whose outputs stage `id` reads."""
        step = self.stages.get(id)
        return tuple(_sources(step)) if step else ()

    def needed(self, *names: str) -> set[str]:
        """The stages that `names` (stage ids, gates, reports, actions, sweeps) need, with all upstream."""
        return self.upstream(id for name in names for id in self._direct.get(name, (name,)))

    @cached_property
    def _direct(self) -> dict[str, tuple[str, ...]]:
        """What gates, reports and actions need at once."""
        found: dict[str, tuple[str, ...]] = {g.value.name: g.value.stages for g in self.typed.gates}
        found.update((r.value.name, r.value.stages) for r in self.typed.reports)
        # `after` may name a gate, whose stages then count.
        for action in self.typed.actions:
            after = (id for name in action.value.after for id in found.get(name, (name,)))
            found[action.value.name] = (*_sources(action), *after)
        return found

    @cached_property
    def started(self) -> frozenset[str]:
        """Everything that some event names in `run`."""
        return frozenset(name for event in self.typed.events for part in event.run for name in part.value)

    @cached_property
    def reached(self) -> frozenset[str]:
        """The ids of all stages that some event needs."""
        return frozenset(self.needed(*self.started))

    def command(self, text: Text) -> Command:
        """The words of one command."""
        found = self._commands.get(text.span)
        if found is None:
            source = self.typed.sources.get(text.span.file)
            plain = source is not None and source.text.startswith('"', text.span.start)
            found = shellwords.read(source, text.span) if source is not None and plain else Command((), ())
            self._commands[text.span] = found
        return found

    @cached_property
    def _commands(self) -> dict[Span, Command]:
        return {}

    def scripts(self, text: Text) -> list[Word]:
        """The script files that a command starts, by name; none when it changes its folder before."""
        found = self._scripts.get(text.span)
        if found is None:
            words = self.command(text).words
            if any(word.first and word.text in ("cd", "pushd") for word in words):
                found = []
            else:
                starts = (_script(words, n, word) for n, word in enumerate(words) if _may_start(word))
                found = [script for script in starts if script is not None]
            self._scripts[text.span] = found
        return found

    @cached_property
    def _scripts(self) -> dict[Span, list[Word]]:
        return {}

    def visible(self, step: AnyStep) -> bool:
        """Whether a step's command lines say all that it reads: only programs that read nothing by habit."""
        known = self._visible.get(step.span)
        if known is None:
            commands = [self.command(text) for text in step.texts]
            known = bool(commands) and all(
                words and all(w.text in _VISIBLE and not w.open for w in words if w.first)
                for words, _ in commands
            )
            self._visible[step.span] = known
        return known

    @cached_property
    def _visible(self) -> dict[Span, bool]:
        # Instances of one `each` share their commands.
        return {}


def placed(step: AnyStep, kind: str) -> set[str]:
    """The names of `kind` (`input`, `output`, `param`) that placeholders of the step's commands stand for."""
    found: set[str] = set()
    for text in step.texts:
        for slot in text.slots:
            if slot.value.kind == kind:
                found.add(slot.value.name)
            elif slot.value.kind == f"{kind}s":
                found.update(slot.value.name.split(","))
    return found


def _sources(step: AnyStep) -> list[str]:
    return [s.stage for part in step.inputs for s in part.value.sources if isinstance(s, ir.StageOutput)]


def _glob(pattern: str) -> tuple[str, re.Pattern[str]]:
    """The folder of a glob before its first wildcard, and the glob as a regular expression."""
    parts = pattern.split("/")
    fixed = next((n for n, part in enumerate(parts) if any(c in part for c in "*?[")), len(parts) - 1)
    wanted = fnmatch.translate(pattern.replace("**/", "\0").replace("**", "\1").replace("*", "\2"))
    wanted = wanted.replace("\0", "(?:.*/)?").replace("\1", ".*").replace("\2", "[^/]*")
    return normal("/".join(parts[:fixed])) or ".", re.compile(wanted)


def _may_start(word: Word) -> bool:
    """Whether the word may be a program that starts a script: in a command, most words are not."""
    text = word.text
    if word.open or not text:
        return False
    return "python" in text or text in _SHELLS or text in _LAUNCHERS or (word.first and text[0] == ".")


def _script(words: tuple[Word, ...], n: int, word: Word) -> Word | None:
    """The script that the program at `words[n]` starts."""
    if word.first and word.text.startswith("./") and "." in word.text[2:]:
        return word
    launcher = word.text in _LAUNCHERS
    if not (launcher or word.text in _SHELLS or _PYTHON.fullmatch(word.text)):
        return None
    for argument in words[n + 1 :]:
        if argument.first:
            return None
        if argument.text.startswith("-") and not launcher:
            if argument.text in ("-m", "-c", "-"):
                return None
            continue
        if _SCRIPT.fullmatch(argument.text):
            return None if argument.open else argument
        if not launcher:
            return None
    return None


def whole_line(span: Span, text: str) -> Span:
    """`span`, or all its line with the line break when it stands there alone: for edits that delete."""
    start = text.rfind("\n", 0, span.start) + 1
    end = text.find("\n", span.end)
    if text[start : span.start].strip() or end < 0 or text[span.end : end].strip():
        return span
    return Span(span.file, start, end + 1)
