"""`dvc.yaml` as values: stages with every `foreach`, `matrix` and `${…}` filled in, each with its place.

Only what DVC itself takes is taken; what is wrong ends with a Failure that says where.
"""

from __future__ import annotations

import itertools
import posixpath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from mlflowc.importing.coverage import Coverage, Place
from mlflowc.importing.draft import identifier
from mlflowc.importing.templating import (
    Origin,
    Piece,
    Text,
    Variables,
    joined,
    load_vars,
    resolve,
    shown,
    whole,
)
from mlflowc.importing.yamltree import Node, Scalar, wrong

DEFAULT_PARAMS = "params.yaml"
MOST_STAGES = 10_000
_TOP = {"stages", "vars", "params", "metrics", "plots", "artifacts", "datasets", "schema"}
_STAGE = {
    *("cmd", "wdir", "deps", "params", "vars", "outs", "metrics", "plots", "frozen", "always_changed"),
    *("desc", "meta"),
}


@dataclass(frozen=True, slots=True)
class Item:
    """A path of a stage. `text` is relative to the project folder unless `external`; `options` as written."""

    text: Text
    place: Place
    kind: str
    options: Node | None = None
    folder: bool = False
    external: bool = False

    @property
    def path(self) -> str:
        """The path as it reads."""
        return joined(self.text)


@dataclass(frozen=True, slots=True)
class ParamUse:
    """A parameter of `file` (relative to the project folder); the whole file where `key` is None."""

    file: str
    key: str | None
    place: Place


@dataclass(slots=True)
class RawStage:
    """A stage, or one instance of a `foreach` or `matrix` (`name` is then `group@key`).

    `each` are the iteration's variables, where each is one plain value. `cmd` is what `dvc.lock` says of it.
    """

    name: str
    group: str
    key: str
    place: Place
    each: tuple[tuple[str, str | int | float | bool], ...] = ()
    wdir: str = ""
    commands: list[tuple[Text, Place]] = field(default_factory=list)
    deps: list[Item] = field(default_factory=list)
    outs: list[Item] = field(default_factory=list)
    params: list[ParamUse] = field(default_factory=list)
    flags: dict[str, Place] = field(default_factory=dict)
    desc: str = ""
    cmd: str | list[str] = ""


@dataclass(slots=True)
class RawProject:
    """A whole `dvc.yaml`. `folder` is its folder, relative to the project's; the rest are its other
    sections.
    """

    file: str
    folder: str
    stages: list[RawStage] = field(default_factory=list)
    sections: dict[str, Node] = field(default_factory=dict)
    variables: Variables = field(default_factory=lambda: Variables({}))


class Reader:
    """Reads one `dvc.yaml`. `values` reads a file of variables by its path in the project (None: no file)."""

    def __init__(self, file: str, values: Callable[[str], Node | None], coverage: Coverage) -> None:
        self._file = file
        self._folder = posixpath.dirname(file)
        self._values = values
        self._coverage = coverage

    def read(self, root: Node | None) -> RawProject:
        """The project of the document `root`."""
        project = RawProject(self._file, self._folder)
        if root is None or not isinstance(root.value, dict) or not _TOP & set(root.mapping):
            place = root.place if root else Place(self._file, 1)
            raise wrong(
                place,
                "this is no dvc.yaml: it has no `stages`",
                "mlpipec import takes a dvc.yaml, or CI files",
            )
        for name, node, place in root.pairs():
            if name not in _TOP:
                self._coverage.left(name, place, f"`{name}` is not known", "see what it is for")
            elif node.value is not None:
                project.sections[name] = node
        variables = load_vars(
            project.sections.get("vars"), Variables({}), self._reader(self._folder), DEFAULT_PARAMS
        )
        project.variables = variables
        stages = project.sections.get("stages")
        if stages is not None and not isinstance(stages.value, dict):
            raise wrong(stages.place, "`stages` is a mapping of names to stages")
        for name, node, place in stages.pairs() if stages else ():
            for stage in self._definition(name, node, place, variables):
                project.stages.append(stage)
                if len(project.stages) > MOST_STAGES:
                    raise wrong(place, f"this makes more than {MOST_STAGES:,} stages")
        return project

    def _reader(self, folder: str) -> Callable[[str, Place], Node | None]:
        return lambda path, _: self._values(posixpath.normpath(posixpath.join(folder, path)))

    # --- foreach and matrix ---

    def _definition(self, name: str, node: Node, place: Place, variables: Variables) -> Iterator[RawStage]:
        if not isinstance(node.value, dict):
            raise wrong(place, f"the stage `{name}` is no mapping", "it has a `cmd`, `deps`, `outs`, …")
        if "foreach" in node.mapping or "do" in node.mapping:
            yield from self._foreach(name, node, place, variables)
        elif "matrix" in node.mapping:
            yield from self._matrix(name, node, place, variables)
        else:
            yield self._stage(RawStage(name, name, "", place), node, variables)

    def _foreach(self, name: str, node: Node, place: Place, variables: Variables) -> Iterator[RawStage]:
        over, body = node.get("foreach"), node.get("do")
        if over is None or body is None or not isinstance(body.value, dict):
            raise wrong(place, f"the stage `{name}` needs both `foreach` and `do`")
        at = node.place_of("foreach")
        found = whole(over, variables)
        if found.is_scalar:
            raise wrong(at, "`foreach` goes over a list or a mapping", "as in `foreach: [de, fr]`")
        self._carried("foreach", at, name, found is not over, found)
        if isinstance(found.value, dict):
            pairs = [(k, v) for k, v in found.mapping.items()]
        elif all(i.is_scalar for i in found.items):
            filled = [self._filled(i, variables) for i in found.items]
            pairs = [(shown(i.value), i) for i in filled]
        else:
            pairs = [(str(n), i) for n, i in enumerate(found.items)]
        for key, value in dict(pairs).items():
            values, each = {"item": value}, dict[str, Origin]()
            variable: tuple[tuple[str, Scalar], ...] = ()
            if isinstance(found.value, dict):
                values["key"] = Node(key, value.file, value.line)
                each["key"], variable = Origin(None, "key", at), (("key", key),)
            elif value.is_scalar and value.value is not None:
                each["item"], variable = Origin(None, "item", at), (("item", _scalar(value)),)
            stage = RawStage(f"{name}@{key}", name, key, place, _plain(variable))
            yield self._stage(stage, body, variables.iterating(values, each))

    def _matrix(self, name: str, node: Node, place: Place, variables: Variables) -> Iterator[RawStage]:
        matrix, at = node.get("matrix"), node.place_of("matrix")
        if matrix is None or not isinstance(matrix.value, dict):
            raise wrong(at, "`matrix` is a mapping of names to lists", "as in `matrix: {lr: [0.1, 0.2]}`")
        axes: list[tuple[str, list[tuple[str, Node]]]] = []
        for axis, written, axis_at in matrix.pairs():
            found = whole(written, variables)
            if not isinstance(found.value, list):
                raise wrong(axis_at, f"`{axis}` is no list")
            self._carried("matrix", axis_at, name, found is not written, found)
            values = [self._filled(v, variables) if v.is_scalar else v for v in found.items]
            axes.append(
                (axis, [(shown(v.value) if v.is_scalar else f"{axis}{n}", v) for n, v in enumerate(values)])
            )
        simple = all(v.is_scalar and v.value is not None for _, points in axes for _, v in points)
        body = Node(
            {k: v for k, v in node.mapping.items() if k != "matrix"},
            node.file,
            node.line,
            None,
            node.key_lines,
        )
        names = _variable_names([axis for axis, _ in axes])
        if _product(len(points) for _, points in axes) > MOST_STAGES:
            raise wrong(at, f"this makes more than {MOST_STAGES:,} stages")
        seen: set[str] = set()
        for point in itertools.product(*(points for _, points in axes)):
            key = "-".join(k for k, _ in point)
            if key in seen:
                continue
            seen.add(key)
            chosen = {axis: value for (axis, _), (_, value) in zip(axes, point, strict=True)}
            item = Node(chosen, node.file, at.line)
            each = {f"item.{axis}": Origin(None, names[axis], at) for axis in chosen} if simple else {}
            variable = tuple((names[axis], _scalar(v)) for axis, v in chosen.items()) if simple else ()
            stage = RawStage(f"{name}@{key}", name, key, place, _plain(variable))
            known = {"item": item, "key": Node(key, node.file, at.line)}
            yield self._stage(stage, body, variables.iterating(known, each))

    def _carried(self, construct: str, place: Place, name: str, from_file: bool, found: Node) -> None:
        if from_file and found.key is not None:
            self._coverage.changed(
                construct,
                place,
                f"the values of `{name}` are written out; {found.place} has them, too",
                "change both when there is one more",
            )
        else:
            self._coverage.carried(construct, place, f"the instances of `{name}`")

    def _filled(self, node: Node, variables: Variables) -> Node:
        """A plain value of an iteration, with its own `${…}` filled in."""
        if node.text is None or "${" not in node.text:
            return node
        found = whole(node, variables)
        if found is not node:
            return found
        return Node(joined(resolve(node, variables)), node.file, node.line)

    # --- one stage ---

    def _stage(self, stage: RawStage, node: Node, variables: Variables) -> RawStage:
        for name, _, place in node.pairs():
            if name not in _STAGE:
                self._coverage.left(
                    name, place, f"`{name}` of stage `{stage.group}` is not known", "see what it is for"
                )
        wdir = node.get("wdir")
        written = joined(resolve(wdir, variables)) if wdir else ""
        if written.startswith(("/", "~")):
            raise wrong(node.place_of("wdir"), "`wdir` is a path relative to dvc.yaml")
        stage.wdir = _normal(posixpath.join(self._folder, written))
        if "vars" in node.mapping:
            variables = load_vars(node.get("vars"), variables, self._reader(stage.wdir))
        self._commands(stage, node, variables)
        stage.deps = [self._item(stage, i, "dep", variables) for i in _list(node, "deps")]
        for section, kind in (("outs", "out"), ("metrics", "metric"), ("plots", "plot")):
            stage.outs += [self._item(stage, i, kind, variables) for i in _list(node, section)]
        for item in _list(node, "params"):
            stage.params += self._params(stage, item, variables)
        for flag in ("frozen", "always_changed", "meta"):
            found = node.get(flag)
            if found is not None and found.value is not False:
                stage.flags[flag] = node.place_of(flag)
        desc = node.get("desc")
        stage.desc = joined(resolve(desc, variables)) if desc else ""
        return stage

    def _commands(self, stage: RawStage, node: Node, variables: Variables) -> None:
        cmd = node.get("cmd")
        if cmd is None:
            raise wrong(stage.place, f"the stage `{stage.group}` has no `cmd`")
        if isinstance(cmd.value, dict):
            raise wrong(node.place_of("cmd"), "`cmd` is a string, or a list of them")
        texts = [resolve(c, variables, command=True) for c in (cmd.items or [cmd])]
        stage.cmd = [joined(t) for t in texts] if isinstance(cmd.value, list) else joined(texts[0])
        for line, text in zip(cmd.items or [cmd], texts, strict=True):
            # DVC runs each line of a text by itself, and an element of a list as a whole.
            parts = [text] if isinstance(cmd.value, list) else _lines(text)
            stage.commands += [(part, line.place) for part in parts if joined(part).strip()]
        if not stage.commands:
            raise wrong(node.place_of("cmd"), f"the `cmd` of `{stage.group}` is empty")

    def _item(self, stage: RawStage, node: Node, kind: str, variables: Variables) -> Item:
        options: Node | None = None
        written = node
        if isinstance(node.value, dict):
            if len(node.mapping) != 1 or kind == "dep":
                raise wrong(node.place, "a path is wanted here, or a path with its options")
            ((path, options, place),) = node.pairs()
            written = Node(path, node.file, place.line)
            if options.value is not None and options.is_scalar:
                raise wrong(place, f"the options of `{path}` are a mapping")
        text = resolve(written, variables)
        full = joined(text)
        if not full.strip():
            raise wrong(node.place, "a path is wanted here, and this is empty")
        if "://" in full or full.startswith(("/", "~")):
            return Item(text, written.place, kind, options, external=True)
        return Item(within(stage.wdir, text), written.place, kind, options, folder=full.endswith("/"))

    def _params(self, stage: RawStage, node: Node, variables: Variables) -> Iterator[ParamUse]:
        if node.is_scalar:
            key = joined(resolve(node, variables))
            yield ParamUse(_normal(posixpath.join(stage.wdir, DEFAULT_PARAMS)), key, node.place)
            return
        if not isinstance(node.value, dict):
            raise wrong(node.place, "a parameter is wanted here, or a file with its parameters")
        for path, keys, place in node.pairs():
            written = joined(resolve(Node(path, node.file, place.line), variables))
            file = _normal(posixpath.join(stage.wdir, written))
            if not keys.value:
                yield ParamUse(file, None, place)
                continue
            if not isinstance(keys.value, list):
                raise wrong(place, f"the parameters of `{path}` are a list")
            for inner in keys.items:
                yield ParamUse(file, joined(resolve(inner, variables)), inner.place)


def _list(node: Node, name: str) -> list[Node]:
    found = node.get(name)
    if found is None:
        return []
    if not isinstance(found.value, list):
        raise wrong(node.place_of(name), f"`{name}` is a list")
    return found.items


def _lines(text: Text) -> list[Text]:
    lines: list[list[Piece]] = [[]]
    for piece in text:
        if piece.origin is not None:
            lines[-1].append(piece)
            continue
        first, *more = piece.text.split("\n")
        lines[-1].append(Piece(first))
        lines += [[Piece(part)] for part in more]
    return [tuple(p for p in line if p.text or p.origin) for line in lines]


def within(folder: str, text: Text) -> Text:
    """A path written in `folder`, as a path of the project, without a slash at its end."""
    full = joined(text)
    straight = posixpath.join(folder, full).rstrip("/") if folder else full.rstrip("/")
    normal = posixpath.normpath(straight)
    head, rest = folder, text[0].text
    while rest.startswith(("./", "../")):
        step, _, rest = rest.partition("/")
        head = _normal(posixpath.join(head, step)) if step == ".." else head
        rest = rest.lstrip("/")
    pieces = [Piece(f"{head}/")] if head else []
    pieces += [text[0]._replace(text=rest), *text[1:]]
    last = pieces[-1]
    pieces[-1] = last._replace(text=last.text.rstrip("/"))
    made = tuple(p for p in pieces if p.text)
    return made if joined(made) == normal else (Piece(normal),)


def _normal(path: str) -> str:
    normal = posixpath.normpath(path) if path else ""
    return "" if normal == "." else normal


def _scalar(node: Node) -> Scalar:
    return node.value if not isinstance(node.value, dict | list) else None


def _plain(each: tuple[tuple[str, Scalar], ...]) -> tuple[tuple[str, str | int | float | bool], ...]:
    return tuple((n, v) for n, v in each if v is not None)


def _variable_names(axes: list[str]) -> dict[str, str]:
    taken = {"stage", "params"}
    names: dict[str, str] = {}
    for axis in axes:
        base = name = identifier(axis, "axis")
        number = 2
        while name in taken:
            name, number = f"{base}_{number}", number + 1
        taken.add(name)
        names[axis] = name
    return names


def _product(sizes: Iterator[int]) -> int:
    product = 1
    for size in sizes:
        product *= size
    return product


def entries(node: Node) -> Mapping[str, Node]:
    """A mapping, or the mappings of a list as one."""
    if isinstance(node.value, dict):
        return node.mapping
    return {k: v for item in node.items for k, v in item.mapping.items()}
