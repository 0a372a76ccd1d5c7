"""DVC's metrics, plots and artifacts as a report, and as comments at outputs."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import replace

from mlflowc.check import infer
from mlflowc.check.lattice import TABLES
from mlflowc.importing.coverage import Coverage, Place
from mlflowc.importing.draft import OutputDraft, Ref, ReportDraft, Show, free
from mlflowc.importing.dvcbuild import Built
from mlflowc.importing.dvcread import RawProject, within
from mlflowc.importing.literals import quoted
from mlflowc.importing.templating import joined, resolve
from mlflowc.importing.yamltree import Node

_NAME = re.compile(r"[a-z_]\w*", re.ASCII)
_KINDS = {
    **dict.fromkeys(("linear", "simple", "smooth"), "line"),
    "scatter": "scatter",
    "scatter_jitter": "scatter",
    **dict.fromkeys(("bar_horizontal", "bar_horizontal_sorted"), "bar"),
    **dict.fromkeys(("confusion", "confusion_normalized"), "confusion"),
}
_EXACT = ("linear", "simple", "scatter", "confusion", "bar_horizontal")
_KNOWN = ("x", "y", "template", "title", "x_label", "y_label", "header")


class Reporter:
    """Adds a report to what was built."""

    def __init__(self, project: RawProject, built: Built, coverage: Coverage) -> None:
        self._project, self._built, self._coverage = project, built, coverage
        self._lines: list[Show] = []

    def add(self) -> None:
        """Adds the report `review`, if there is something to show, and what artifacts say."""
        sections = self._project.sections
        self._top_metrics(sections.get("metrics"))
        named = {path for path, _, _ in self._top_plots(sections.get("plots"))}
        for ref in self._built.outs.values():
            if self._output(ref).type.startswith("metrics"):
                self._lines.append(Show("metrics", ref))
        for path, item in self._built.items.items():
            if item.kind == "plot" and path not in named:
                for settings in _all_settings(item.options):
                    self._plot(path, settings, item.place)
        for path, settings, place in self._top_plots(sections.get("plots")):
            self._plot(path, settings, place)
        self._artifacts(sections.get("artifacts"))
        datasets = sections.get("datasets")
        if datasets is not None:
            self._coverage.left(
                "datasets",
                datasets.place,
                "sources of data outside of the project",
                "declare each: `data NAME = …`",
            )
        if self._lines:
            if self._built.draft.params:
                self._lines.append(Show("params"))
            name = free("review", self._built.taken)
            self._built.draft.reports.append(ReportDraft(name, self._lines))

    def _output(self, ref: Ref) -> OutputDraft:
        return next(o for o in self._built.draft.stages[ref.stage].outputs if o.name == ref.output)

    def _replace(self, ref: Ref, made: OutputDraft) -> None:
        outputs = self._built.draft.stages[ref.stage].outputs
        outputs[:] = [made if o.name == ref.output else o for o in outputs]

    def _path(self, node: Node) -> str:
        return joined(within(self._project.folder, resolve(node, self._project.variables)))

    # --- metrics ---

    def _top_metrics(self, section: Node | None) -> None:
        for node in section.items if section is not None else []:
            if not node.is_scalar:
                self._coverage.left("metrics", node.place, "this is no path", "name a file")
                continue
            path = self._path(node)
            ref = self._built.outs.get(path)
            if ref is None and self._inside("metrics", "metrics", path, node.place, ()):
                continue
            if ref is None:
                self._not_made("metrics", path, node.place)
            elif not self._output(ref).type.startswith("metrics"):
                if infer.ending(path) in ("json", "yaml", "yml") and self._output(ref).type in ("", "path"):
                    self._replace(ref, replace(self._output(ref), type="metrics"))
                    self._coverage.changed(
                        "metrics",
                        node.place,
                        f"the figures of `{path}` are not declared",
                        "name them in its type",
                    )
                else:
                    self._coverage.left(
                        "metrics", node.place, f"`{path}` holds no metrics that are read", "write JSON"
                    )

    def _inside(self, construct: str, kind: str, path: str, place: Place, settings: tuple[str, ...]) -> bool:
        """Shows a file of an output that is a folder, as DVCLive makes; whether `path` is one."""
        outer = next((p for p in self._built.outs if path.startswith(p + "/")), None)
        if outer is None:
            return False
        ref, inner = self._built.outs[outer], path[len(outer) + 1 :]
        if self._output(ref).type in ("", "path"):
            self._replace(ref, replace(self._output(ref), type="dir"))
        # Without an ending it is a folder in the folder.
        pattern = inner if posixpath.splitext(inner)[1] else f"{inner}/**"
        self._lines.append(Show(kind, ref, (*settings, f"path = {quoted(pattern)}")))
        self._coverage.carried(construct, place, f"`{path}`, in the report")
        return True

    def _not_made(self, construct: str, path: str, place: Place) -> None:
        self._coverage.left(
            construct,
            place,
            f"no stage makes `{path}`, and a report shows what stages make",
            "make it an output",
        )

    # --- plots ---

    def _top_plots(self, section: Node | None) -> Iterator[tuple[str, dict[str, Node], Place]]:
        for node in section.items if section is not None else []:
            if node.is_scalar:
                yield self._path(node), {}, node.place
                continue
            for name, options, place in node.pairs():
                yield from self._files_of(Node(name, node.file, place.line), options, place)

    def _files_of(
        self, name: Node, options: Node, place: Place
    ) -> Iterator[tuple[str, dict[str, Node], Place]]:
        """The files of a plot: its name is one, or `y` (or `x`) says which columns of which file."""
        settings = dict(options.mapping)
        y, x = settings.get("y"), settings.get("x")
        if y is None or not isinstance(y.value, dict):
            if x is not None and isinstance(x.value, dict):
                for path, column in x.mapping.items():
                    yield self._path(Node(path, x.file, x.line)), {**settings, "x": column}, place
                return
            yield self._path(name), settings, place
            return
        settings.setdefault("title", name)
        for path, columns in y.mapping.items():
            own = {**settings, "y": columns}
            if x is not None and isinstance(x.value, dict):
                own.pop("x")
                own.update({"x": x.mapping[path]} if path in x.mapping else {})
            yield self._path(Node(path, y.file, y.line)), own, place

    def _plot(self, path: str, settings: dict[str, Node], place: Place) -> None:
        ref = self._built.outs.get(path)
        if ref is None:
            image = infer.kind_of(path) == "image"
            shown = () if image else tuple(self._settings(path, settings, place))
            if not self._inside("plots", "image" if image else "plot", path, place, shown):
                self._not_made("plots", path, place)
            return
        kind = infer.kind_of(path) if not self._output(ref).type else self._output(ref).type.partition(" ")[0]
        if kind == "image":
            self._lines.append(Show("image", ref))
        elif kind in TABLES or kind == "json":
            self._lines.append(Show("plot", ref, tuple(self._settings(path, settings, place))))
        else:
            self._coverage.left(
                "plots",
                place,
                f"`{path}` is neither a table nor an image",
                "write CSV, JSON, PNG or SVG, each an output",
            )
            return
        self._coverage.carried("plots", place, f"`{path}`, in the report")

    def _settings(self, path: str, settings: dict[str, Node], place: Place) -> Iterator[str]:
        for axis in ("x", "y"):
            node = settings.get(axis)
            columns = (
                [str(n.value) for n in (node.items or [node]) if n.is_scalar] if node is not None else []
            )
            columns = [c for c in columns if c not in ("", "None")]
            if len(columns) == 1 or (columns and axis == "y"):
                names = [c if _NAME.fullmatch(c) else quoted(c) for c in columns]
                yield f"{axis} = {names[0]}" if len(names) == 1 else f"{axis} = [{', '.join(names)}]"
        template = settings.get("template")
        if template is not None and template.text is not None:
            name = posixpath.basename(template.text).removesuffix(".json")
            if name in _KINDS and name != "linear":
                yield f"kind = {_KINDS[name]}"
            if name not in _EXACT:
                self._coverage.changed(
                    "template",
                    template.place,
                    f"the plot of `{path}` looks as the report draws it, not as `{name}`",
                )
        title = settings.get("title")
        if title is not None and title.text:
            yield f"title = {quoted(title.text)}"
        for name, node in settings.items():
            if name in ("x_label", "y_label", "header"):
                self._coverage.left(
                    name, node.place, f"of the plot of `{path}`", "name the column as it shall read"
                )
            elif name not in _KNOWN and name not in (
                "cache",
                "persist",
                "push",
                "remote",
                "desc",
                "type",
                "labels",
                "meta",
            ):
                self._coverage.left(
                    name, place, f"`{name}` of the plot of `{path}` is not known", "see what it is for"
                )

    # --- artifacts ---

    def _artifacts(self, section: Node | None) -> None:
        for name, node, place in section.pairs() if section is not None else ():
            where = node.get("path")
            path = self._path(where) if where is not None and where.is_scalar else ""
            ref = self._built.outs.get(path)
            if ref is None:
                self._coverage.left(
                    "artifacts", place, f"`{name}` is no output of a stage", "say what it is in a comment"
                )
                continue
            said = [
                f"{k}: {v.plain()}" for k, v in node.mapping.items() if k != "path" and v.value is not None
            ]
            output = self._output(ref)
            # Its stage may be written as one with others.
            which = f" (`{path}`)" if self._built.draft.stages[ref.stage].each else ""
            lines = [
                *([output.comment] if output.comment else []),
                f"Artifact `{name}`{which}" + (": " if said else "") + ", ".join(said),
            ]
            type_node = node.get("type")
            is_model = type_node is not None and type_node.value == "model"
            type = (
                "model"
                if is_model and output.type in ("", "path") and infer.kind_of(path) in ("file", "path")
                else output.type
            )
            self._replace(ref, replace(output, comment="\n".join(lines), type=type))
            self._coverage.changed(
                "artifacts",
                place,
                f"`{name}` stands as a comment at `{path}`: there is no model registry here",
                "an `action` publishes a model",
            )


def _all_settings(options: Node | None) -> list[dict[str, Node]]:
    if options is None or options.value is None:
        return [{}]
    if isinstance(options.value, list):
        return [dict(o.mapping) for o in options.items] or [{}]
    return [dict(options.mapping)]
