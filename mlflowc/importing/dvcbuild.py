"""From what `dvc.yaml` says to a draft: names, outputs, edges, parameters, placeholders."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field

from mlflowc.importing import dvccommand, shellplace
from mlflowc.importing.coverage import Coverage, Place
from mlflowc.importing.draft import (
    DataDraft,
    DataUse,
    Draft,
    InputDraft,
    OutputDraft,
    PathUse,
    Ref,
    Source,
    StageDraft,
    free,
    identifier,
)
from mlflowc.importing.dvcfiles import DvcFiles, Locked
from mlflowc.importing.dvcread import Item, ParamUse, RawProject, RawStage
from mlflowc.importing.dvctypes import comment_of, output_name, type_of
from mlflowc.importing.literals import quoted
from mlflowc.importing.paramset import ParamSet
from mlflowc.importing.templating import Origin, joined
from mlflowc.importing.yamltree import wrong
from mlflowc.runtime.closure import Scanner

_SCRIPTS = (".py", ".ipynb", ".sh", ".bash", ".R", ".r", ".jl", ".pl", ".rb", ".js", ".ts", ".lua")


@dataclass(slots=True)
class Built:
    """A draft, and what belongs together: `indices` maps DVC's stage names to drafts, `outs` paths to
    outputs,
    `items` paths to where DVC's file declares them.
    """

    draft: Draft
    indices: dict[str, int] = field(default_factory=dict)
    outs: dict[str, Ref] = field(default_factory=dict)
    items: dict[str, Item] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)


class Builder:
    """Makes the draft of a project."""

    def __init__(self, project: RawProject, files: DvcFiles, params: ParamSet, coverage: Coverage) -> None:
        self._project = project
        self._files = files
        self._params = params
        self._coverage = coverage
        self._lock: dict[str, Locked] = files.lock()
        self._built = Built(Draft(identifier(files.root.resolve().name, "project")))
        self._data: dict[str, str] = {}
        self._comments: dict[str, str] = {}
        self._scanner = Scanner(files.root)
        self._around: frozenset[str] = frozenset()

    def build(self) -> Built:
        """The draft. Raises Failure for what DVC would refuse, too."""
        built = self._built
        live = [s for s in self._project.stages if not self._frozen(s)]
        folders = self._folders(live)
        for raw in live:
            built.indices[raw.name] = len(built.draft.stages)
            draft = StageDraft(self._stage_name(raw), identifier(raw.group, "stage"), raw.each)
            built.draft.stages.append(draft)
            self._outputs(raw, draft, folders)
        self._group_names()
        self._check_overlaps()
        self._scanner = Scanner(self._files.root, produced=list(built.outs))
        self._around = frozenset(path[:n] for path in built.outs for n, c in enumerate(path) if c == "/")
        for raw in live:
            self._stage(raw, built.draft.stages[built.indices[raw.name]])
        self._check_circles(live)
        built.draft.data = {
            name: DataDraft(self._data_source(path), self._comments.get(path, ""))
            for path, name in self._data.items()
        }
        built.draft.params = self._params.files
        return built

    # --- names and outputs ---

    def _stage_name(self, raw: RawStage) -> str:
        base = identifier(raw.group, "stage")
        if raw.key:
            base = f"{base}_{identifier(raw.key, 'x').removeprefix('x_')}"
        return free(base, self._built.taken)

    def _group_names(self) -> None:
        """Gives each group with `each` a name that nothing else has: it may be written as one stage."""
        names: dict[str, str] = {}
        for stage in self._built.draft.stages:
            if stage.each:
                if stage.group not in names:
                    names[stage.group] = free(stage.group, self._built.taken)
                stage.group = names[stage.group]

    def _frozen(self, raw: RawStage) -> bool:
        """Whether the stage's outputs are taken as they are: it is frozen, and they are there."""
        place = raw.flags.get("frozen")
        if place is None:
            return False
        if not raw.outs or any(o.external or self._files.kind(o.path) == "missing" for o in raw.outs):
            self._coverage.changed(
                "frozen", place, f"`{raw.name}` has no results to keep, so it is a stage like any other"
            )
            return False
        command = "; ".join(joined(c) for c, _ in raw.commands)
        for out in raw.outs:
            self._data_name(out.path)
            self._comments[out.path] = f"Frozen in dvc.yaml: made by `{command}`."
        self._coverage.changed(
            "frozen",
            place,
            f"the outputs of `{raw.name}` are data, and its command is no stage",
            "commit them, or make the data a stage again",
        )
        return True

    def _folders(self, stages: list[RawStage]) -> frozenset[str]:
        """Paths that something else lies in: they are folders."""
        paths = [i.path for s in stages for i in (*s.deps, *s.outs) if not i.external]
        locked = {
            p.path for entry in self._lock.values() for p in entry.outs if (p.md5 or "").endswith(".dir")
        }
        inner = {path[:n] for path in paths for n, c in enumerate(path) if c == "/"}
        return frozenset(inner | {posixpath.join(self._project.folder, p) for p in locked})

    def _outputs(self, raw: RawStage, draft: StageDraft, folders: frozenset[str]) -> None:
        taken = {"params", "stage", *(name for name, _ in raw.each)}
        for item in raw.outs:
            if item.external:
                self._coverage.left(
                    "outs",
                    item.place,
                    f"`{item.path}` lies outside of the project",
                    "write it in an `action`, or to a path of the project",
                )
                continue
            if item.path.startswith(".."):
                raise wrong(
                    item.place,
                    f"`{item.path}` lies outside of the project folder",
                    f"write the pipeline file further up: "
                    f"mlpipec import {self._project.file} -o ../pipeline.mlpipe",
                )
            old = self._built.items.get(item.path)
            if old is not None:
                raise wrong(item.place, f"`{item.path}` is written twice", f"{old.place} writes it, too")
            name = free(output_name(item), taken)
            type = type_of(item, self._files, folders, self._coverage)
            made = OutputDraft(name, item.text, type, comment_of(item, self._coverage))
            draft.outputs.append(made)
            self._built.items[item.path] = item
            self._built.outs[item.path] = Ref(len(self._built.draft.stages) - 1, name)
            self._coverage.carried(
                f"{item.kind}s" if item.kind != "out" else "outs", item.place, f"`{item.path}`"
            )

    def _check_overlaps(self) -> None:
        for path, item in self._built.items.items():
            for n, c in enumerate(path):
                outer = self._built.items.get(path[:n]) if c == "/" else None
                if outer is not None:
                    raise wrong(
                        item.place,
                        f"`{path}` lies in `{outer.path}`",
                        f"{outer.place} writes that as a whole",
                    )

    # --- a stage ---

    def _stage(self, raw: RawStage, draft: StageDraft) -> None:
        coverage = self._coverage
        if raw.desc:
            draft.comments.append(raw.desc)
            coverage.carried("desc", raw.place, f"of `{raw.name}`, as a comment")
        if place := raw.flags.get("always_changed"):
            coverage.left(
                "always_changed",
                place,
                f"`{raw.name}` runs when its inputs, parameters, code or command change, and not each time",
                f"`mlpipec run --force {draft.name}` runs it; what is done for its effect is an `action`",
            )
        if place := raw.flags.get("meta"):
            coverage.left(
                "meta",
                place,
                f"of `{raw.name}`: nothing reads it",
                "keep it as a comment, if it says something",
            )
        draft.dir = raw.wdir
        if raw.wdir != self._project.folder:
            coverage.carried("wdir", raw.place, f"of `{raw.name}`, as `dir`")
        names = {"params", "stage", *(n for n, _ in raw.each), *(o.name for o in draft.outputs)}
        paths = {o.path: name for o, name in self._own(raw, draft)}
        code = dvccommand.code_of(self._scanner, raw)
        for item in raw.deps:
            self._input(raw, draft, item, code, names, paths)
        for use in raw.params:
            self._param(draft, use, names)
        self._commands(raw, draft, paths)
        coverage.carried("stages", raw.place, f"`{raw.name}`")

    def _own(self, raw: RawStage, draft: StageDraft) -> list[tuple[Item, str]]:
        inside = [o for o in raw.outs if not o.external]
        return [(o, d.name) for o, d in zip(inside, draft.outputs, strict=True)]

    # --- inputs ---

    def _input(
        self,
        raw: RawStage,
        draft: StageDraft,
        item: Item,
        code: frozenset[str],
        names: set[str],
        paths: dict[str, str],
    ) -> None:
        path, coverage = item.path, self._coverage
        if item.external:
            coverage.left(
                "deps",
                item.place,
                f"`{path}` is not in the project: `{raw.name}` does not run when it changes",
                'fetch it in a stage, or declare it: `data NAME = url("…")`',
            )
            return
        if path in code:
            coverage.carried("deps", item.place, f"`{path}`, as code that the command runs")
            return
        found = self._sources(item)
        if not found:
            return
        if len(found) == 1 and any(i.sources == (found[0][0],) for i in draft.inputs):
            return
        base = found[0][1] if len(found) == 1 else _stem(path)
        name = free(base, names)
        draft.inputs.append(InputDraft(name, tuple(source for source, _, _ in found)))
        if len(found) == 1:
            paths.setdefault(found[0][2], name)
        coverage.carried("deps", item.place, f"`{path}`")

    def _sources(self, item: Item) -> list[tuple[Source, str, str]]:
        """What a path is made of: each source, a name for it, and the path where it lies."""
        path, outs = item.path, self._built.outs
        above = [path[:n] for n, c in enumerate(path) if c == "/"]
        whole = next((p for p in (path, *above) if p in outs), None)
        if whole is not None:
            return [(outs[whole], outs[whole].output, whole)]
        inside = [p for p in outs if p.startswith(path + "/")] if path in self._around else []
        if inside:
            self._rest_of(item, inside)
            return [(outs[p], outs[p].output, p) for p in inside]
        kind = self._files.kind(path)
        tracked = self._files.tracked_by(path)
        if tracked is not None:
            return self._tracked(item, path, tracked)
        if kind == "missing":
            self._coverage.left(
                "deps",
                item.place,
                f"there is no `{path}`, and no stage of {self._project.file} makes it",
                "add the file; a stage of another dvc.yaml belongs into the same pipeline file",
            )
        if path.endswith(_SCRIPTS) or kind == "dir":
            return [(PathUse(path or "."), _stem(path), path)]
        name = self._data_name(path)
        return [(DataUse(name), name, path)]

    def _rest_of(self, item: Item, inside: list[str]) -> None:
        """Says what lies in a folder beside the outputs of stages: those alone are inputs."""
        others = [
            f
            for f in self._files.listed(item.path)
            if not any(f == p or f.startswith(p + "/") for p in inside)
        ]
        if others:
            self._coverage.changed(
                "deps",
                item.place,
                f"of `{item.path}`, what stages write is input, and `{others[0]}` is not",
                "name other files that count as inputs of their own",
            )

    def _tracked(self, item: Item, path: str, tracked: str) -> list[tuple[Source, str, str]]:
        whole = tracked.removesuffix(".dvc")
        name = self._data_name(whole)
        self._coverage.carried("deps", item.place, f"`{path}`, which {tracked} tracks")
        return [(DataUse(name), name, whole)]

    def _data_name(self, path: str) -> str:
        if path not in self._data:
            self._data[path] = free(_stem(path), self._built.taken)
        return self._data[path]

    def _data_source(self, path: str) -> str:
        if self._files.kind(f"{path}.dvc") == "file":
            return f"dvc({quoted(path + '.dvc')})"
        return quoted(path)

    # --- parameters ---

    def _param(self, draft: StageDraft, use: ParamUse, names: set[str]) -> None:
        made = self._built.outs.get(use.file)
        if made is None and self._files.kind(use.file) != "file":
            raise wrong(use.place, f"there is no parameter file `{use.file}`", "`params` reads it")
        reason = (
            "a stage makes it"
            if made
            else "all of it counts"
            if use.key is None
            else self._params.reason(use.file)
        )
        spelled = None if reason or use.key is None else self._params.spelled(use.file, use.key)
        if spelled is not None:
            self._add_param(draft, spelled)
            self._coverage.carried("params", use.place, f"`{use.key}` of {use.file}")
            return
        if not reason and use.key is not None and not self._params.has(use.file, use.key):
            self._coverage.left(
                "params",
                use.place,
                f"`{use.file}` has no `{use.key}`",
                "add it there, then `param` to the stage",
            )
            return
        source: Source = made or PathUse(use.file)
        if not any(i.sources == (source,) for i in draft.inputs):
            draft.inputs.append(InputDraft(free(_stem(use.file), names), (source,)))
        if use.key is None:
            self._coverage.carried("params", use.place, f"{use.file}, as an input: any change of it counts")
        else:
            self._coverage.changed(
                "params",
                use.place,
                f"{use.file} is an input as a whole, for `{use.key}` of it: {reason or 'it is no name here'}",
                "rename it, and declare it with `param`",
            )

    def _add_param(self, draft: StageDraft, spelled: str) -> None:
        covered = spelled in draft.params or any(
            p.endswith(".*") and spelled.startswith(p.removesuffix("*")) for p in draft.params
        )
        if not covered:
            draft.params.append(spelled)

    # --- commands ---

    def _commands(self, raw: RawStage, draft: StageDraft, paths: dict[str, str]) -> None:
        said = {posixpath.relpath(p, raw.wdir) if raw.wdir else p: name for p, name in paths.items()}

        def named(origin: Origin) -> str | None:
            if origin.file is None:
                return None
            spelled = (
                None if self._params.reason(origin.file) else self._params.spelled(origin.file, origin.key)
            )
            if spelled is None or spelled.endswith(".*"):
                return None
            self._add_param(draft, spelled)
            return f"params.{spelled}"

        def symbolic(origin: Origin) -> str | None:
            return origin.key if origin.file is None else named(origin)

        lines = dvccommand.separate([text for text, _ in raw.commands])
        for text, (_, place) in zip(lines, raw.commands, strict=True):
            placed = shellplace.place(text, said, named)
            draft.commands.append(placed.command)
            draft.symbolic.append(shellplace.place(text, said, symbolic).command)
            for origin in placed.copied:
                self._copied(origin, place)
            self._variables(raw, draft, joined(text), place)
        for item in (*raw.outs, *raw.deps):
            for piece in item.text:
                if piece.origin is not None:
                    self._copied(piece.origin, item.place)

    def _copied(self, origin: Origin, place: Place) -> None:
        if origin.file is None:
            return
        self._coverage.changed(
            "templating",
            place,
            f"the value of `{origin.key}` stands here as text, and does not follow {origin.place}",
            "change both together",
        )

    def _variables(self, raw: RawStage, draft: StageDraft, text: str, place: Place) -> None:
        if dvccommand.has_pipe(text):
            self._coverage.changed(
                "cmd",
                place,
                f"a part of a pipe that fails ends `{raw.name}`: commands run under `set -o pipefail`",
                "`… || true` behind a part that may fail",
            )
        for name in dvccommand.host_variables(text):
            if name in dvccommand.OF_DVC:
                self._coverage.left(
                    "cmd", place, f"`${name}` is set by DVC alone", "write what it stands for"
                )
                continue
            self._built.draft.passed.add(name)
            draft.env = "host"
            self._coverage.changed(
                "cmd",
                place,
                f"`${name}` comes from the host: it counts in the key of `{raw.name}`, and has to be set",
                f"`vars` in the `env` gives it a value for everyone: {name} = …",
            )

    # --- circles ---

    def _check_circles(self, live: list[RawStage]) -> None:
        stages = self._built.draft.stages
        before = [
            [s.stage for i in stage.inputs for s in i.sources if isinstance(s, Ref)] for stage in stages
        ]
        done = [False] * len(stages)
        for start in range(len(stages)):
            path: list[tuple[int, int]] = [(start, 0)]
            on = {start}
            while path and not done[start]:
                index, next_ = path[-1]
                if next_ >= len(before[index]):
                    done[index] = True
                    on.discard(index)
                    path.pop()
                    continue
                path[-1] = (index, next_ + 1)
                follows = before[index][next_]
                if follows in on:
                    names = [live[i].name for i, _ in path]
                    circle = names[names.index(live[follows].name) :]
                    way = " → ".join(f"`{n}`" for n in [*circle, circle[0]])
                    raise wrong(
                        live[follows].place,
                        f"stages need each other in a circle: {way}",
                        "DVC refuses it, too",
                    )
                if not done[follows]:
                    path.append((follows, 0))
                    on.add(follows)


def _stem(path: str) -> str:
    name = identifier(posixpath.basename(path).partition(".")[0], "input")
    return f"{name}_file" if name in ("params", "stage") else name
