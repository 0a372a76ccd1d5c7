"""What each command of a CI job is for: an environment, a run of stages, a line of a report, a machine."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from mlflowc.importing.ci import Job, Line, words
from mlflowc.importing.coverage import Coverage, Place

_REDIRECT = re.compile(
    r"^(.*?)\s*(?:&>>?|(?<![\d&])1?>>?)\s*(['\"]?)([^\s'\"&|;<>]+)\2\s*(?:2>&1)?\s*$", re.DOTALL
)
_VALUE = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)
_ASSIGNED = re.compile(r"^(?:\w+=\S*\s+)+")
_TOOLS = re.compile(
    r"(?:dvc|cml|pip|wheel|setuptools|uv|poetry|virtualenv|mlflowc)(?:\[[\w,-]*\])?(?:[=<>~!].*)?"
)
_QUIET = (
    "git",
    "ls",
    "pwd",
    "nvidia-smi",
    "set",
    "whoami",
    "date",
    "env",
    "which",
    "true",
    "df",
    "free",
    "echo",
    "printf",
)
_SETUP = (
    "apt",
    "apt-get",
    "npm",
    "yarn",
    "brew",
    "conda",
    "mamba",
    "curl",
    "wget",
    "docker",
    "aws",
    "gcloud",
    "az",
    "apk",
)
_CONTROL = (
    "if",
    "then",
    "else",
    "elif",
    "fi",
    "for",
    "while",
    "until",
    "do",
    "done",
    "case",
    "esac",
    "{",
    "}",
    "function",
)


_NOWHERE = Place("", 0)
_OPENS = ("if", "for", "while", "until", "case", "function", "{")
_CLOSES = ("fi", "done", "esac", "}")


@dataclass(frozen=True, slots=True)
class Shown:
    """A line of a report before it is known which output it shows: `what` is a path, or the text."""

    kind: str
    what: str = ""
    vs: str = ""
    place: Place = _NOWHERE


@dataclass(slots=True)
class Effect:
    """What a job's commands come to. `runs` are stages by name, `all_` every stage; `last` is the stage
    before
    each shown line; `settings` are parameters set for this job; `launch` the options of `cml runner`."""

    runs: list[str] = field(default_factory=list)
    all_: bool = False
    shown: list[tuple[Shown, str | None]] = field(default_factory=list)
    comments: bool = False
    settings: dict[str, str] = field(default_factory=dict)
    launch: dict[str, str] = field(default_factory=dict)
    requirements: str = ""
    synced: bool = False


class Steps:
    """Interprets the lines of one job. `program` makes a stage of a command, or says None."""

    def __init__(
        self, job: Job, coverage: Coverage, program: Callable[[Line, str], str | None], has_dvc: bool
    ) -> None:
        self._job, self._coverage, self._program, self._has_dvc = job, coverage, program, has_dvc
        self._reports = {
            w
            for line in job.lines
            if (said := words(line.text)) and said[0].startswith("cml")
            for w in said[1:]
            if w.endswith((".md", ".markdown"))
        } | {"report.md"}
        self._last: str | None = None
        self._depth = 0
        self.effect = Effect()

    def read(self) -> Effect:
        """What the commands come to."""
        for line in self._job.lines:
            self._line(line)
        return self.effect

    def _line(self, line: Line) -> None:
        text, target = line.text, ""
        match = _REDIRECT.match(text)
        if match is not None and posixpath.normpath(match[3]) in self._reports:
            text, target = match[1], posixpath.normpath(match[3])
        said = words(_ASSIGNED.sub("", text))
        while said and said[0] in ("sudo", "time", "command"):
            said = said[1:]
        if not said:
            return
        name = posixpath.basename(said[0])
        if self._depth or name in _CONTROL:
            if not self._depth:
                self._left(line, "this, and what stands in it: write it as the command of a stage")
            self._depth = max(0, self._depth + (name in _OPENS) - (name in _CLOSES))
        elif len(said) == 1 and _VALUE.fullmatch(said[0]):
            self._left(line, "write its value where it is used")
        elif name == "dvc":
            self._dvc(line, said)
        elif name == "cml" or name.startswith("cml-"):
            self._cml(line, [*name.split("-", 1), *said[1:]])
        elif (
            name in ("pip", "pip3")
            or (name.startswith("python") and said[1:3] == ["-m", "pip"])
            or said[:2] == ["uv", "pip"]
        ):
            self._pip(line, said)
        elif said[:2] in (["uv", "sync"], ["uv", "run"]) and len(said) == 2:
            self.effect.synced = True
            self._carried(line, "the environment")
        elif target:
            self._report(line, said, text)
        elif name in _QUIET:
            self._carried(line, "nothing depends on it")
        elif name in _SETUP:
            self._left(line, "put it on the machine, or into the requirements")
        else:
            self._stage(line, text)

    def _stage(self, line: Line, text: str) -> None:
        made = self._program(line, text)
        if made is not None:
            self._last = made
            if made not in self.effect.runs:
                self.effect.runs.append(made)

    def _left(self, line: Line, todo: str) -> None:
        self._coverage.left("run", line.place, f"`{_short(line.text)}`", todo)

    def _carried(self, line: Line, why: str) -> None:
        self._coverage.carried("run", line.place, f"`{_short(line.text)}`: {why}")

    # --- pip ---

    def _pip(self, line: Line, said: list[str]) -> None:
        if "install" not in said:
            self._carried(line, "nothing depends on it")
            return
        rest = said[said.index("install") + 1 :]
        for n, word in enumerate(rest):
            if word in ("-r", "--requirement") and n + 1 < len(rest):
                self.effect.requirements = posixpath.normpath(rest[n + 1])
            elif word.startswith("-r") and len(word) > 2:
                self.effect.requirements = posixpath.normpath(word[2:])
        valued = {
            n + 1 for n, w in enumerate(rest) if w in ("-r", "--requirement", "-c", "-i", "--index-url", "-e")
        }
        others = [
            w
            for n, w in enumerate(rest)
            if not w.startswith("-") and n not in valued and not _TOOLS.fullmatch(w)
        ]
        if "-e" in rest or "." in others:
            self._left(line, "the project's own package: name pyproject.toml or uv.lock in the `env`")
        elif others:
            self._left(line, f"add {', '.join(others)} to the requirements of the `env`")
        else:
            self._carried(line, "the environment")

    # --- dvc ---

    def _dvc(self, line: Line, said: list[str]) -> None:
        sub = [w for w in said[1:] if not w.startswith("-")]
        command = (
            " ".join(sub[:2])
            if sub[:1] in (["exp"], ["metrics"], ["params"], ["plots"], ["remote"])
            else " ".join(sub[:1])
        )
        rest = said[said.index(sub[-1] if not command else command.split()[-1]) + 1 :] if sub else []
        if command in ("repro", "exp run"):
            self._repro(line, rest)
        elif command in ("pull", "fetch", "checkout", "push", "status", "install"):
            self._coverage.changed(
                "run",
                line.place,
                f"`{_short(line.text)}`: results travel in the cache of the service",
                "data that DVC tracks is fetched when a stage reads it",
            )
        elif command in ("metrics diff", "metrics show", "params diff", "plots diff", "plots show"):
            self._shows(line, command, rest)
        else:
            self._left(line, "do it where DVC is")

    def _repro(self, line: Line, rest: list[str]) -> None:
        targets: list[str] = []
        at = 0
        while at < len(rest):
            word = rest[at]
            if word in ("-S", "--set-param") and at + 1 < len(rest):
                at += 1
                name, _, value = rest[at].partition("=")
                self.effect.settings[name.rpartition(":")[2]] = value
            elif word in ("-n", "--name", "-R", "-j", "--jobs", "--rev", "-w", "-C", "-m", "--message"):
                at += 1
            elif not word.startswith("-"):
                targets.append(word)
            at += 1
        if not self._has_dvc:
            self._left(line, "import its dvc.yaml together with this file")
            return
        self._carried(line, "the stages")
        if targets:
            self.effect.runs += [t for t in targets if t not in self.effect.runs]
        else:
            self.effect.all_ = True

    def _shows(self, line: Line, command: str, rest: list[str]) -> None:
        _, _, before = line.text.partition(">")
        plain = [w for w in rest if not w.startswith((">", "-")) and w not in before.split()]
        # The first revision is what is compared with.
        vs = plain[0].removeprefix("origin/") if command.endswith("diff") and plain else ""
        if "$" in vs:
            self._coverage.changed(
                "run", line.place, f"compared with `main`, where `{vs}` was", "see `vs` in the report"
            )
            vs = "main"
        kind = command.split()[0]
        if kind == "plots":
            self._carried(line, "the report")
            return
        self.effect.shown.append((Shown(kind, "", vs), self._last))
        self._carried(line, "the report")

    # --- cml ---

    def _cml(self, line: Line, said: list[str]) -> None:
        sub = [w for w in said[1:] if not w.startswith("-")]
        first = sub[0] if sub else ""
        if first in ("comment", "send-comment", "check", "send-github-check"):
            self.effect.comments = True
            self._carried(line, "the report")
        elif first in ("publish", "asset"):
            path = next((w for w in sub[1:] if w != "publish" and not w.endswith(".md")), "")
            if path:
                self.effect.shown.append((Shown("file", path, place=line.place), self._last))
        elif first == "runner":
            self._launch(line, said)
        elif first in ("ci", "repo"):
            self._carried(line, "nothing depends on it")
        else:
            self._left(line, "do it in an `action`")

    def _launch(self, line: Line, said: list[str]) -> None:
        options: dict[str, str] = {}
        for n, word in enumerate(said):
            if not word.startswith("--"):
                continue
            name, equals, value = word[2:].partition("=")
            follows = said[n + 1] if n + 1 < len(said) and not said[n + 1].startswith("-") else "true"
            options[name] = value if equals else follows
        self.effect.launch = options
        for secret in dict.fromkeys((*self._job.secrets, *line.secrets)):
            self._coverage.left(
                "secrets",
                line.place,
                f"`{secret}`, with which the machine is launched",
                'short-lived credentials: `auth aws { role = "…" }`',
            )
        self._coverage.changed(
            "run",
            line.place,
            "the machine that `cml runner` launches is a `runner`",
            "see that its labels name a runner that is there",
        )

    # --- reports ---

    def _report(self, line: Line, said: list[str], text: str) -> None:
        name = posixpath.basename(said[0])
        if name in ("echo", "printf"):
            spoken = " ".join(w for w in said[1:] if w not in ("-e", "-n"))
            self._text(line, spoken.replace("\\n", "\n"))
        elif name == "cat" and line.here:
            self._text(line, line.here)
        elif name == "cat":
            for path in said[1:]:
                self.effect.shown.append((Shown("file", path, place=line.place), self._last))
        else:
            self._coverage.left(
                "run", line.place, f"what `{_short(text)}` prints is not in the report", "write it to a file"
            )
            self._stage(line, text)

    def _text(self, line: Line, text: str) -> None:
        if "$" in text or "{{" in text:
            self._left(line, "the report's `text` takes figures: `{{train.scores.auc}}`")
        elif text.strip():
            self.effect.shown.append((Shown("text", text.strip()), self._last))
            self._carried(line, "the report")


def _short(text: str) -> str:
    return text if len(text) <= 70 else text[:67] + "…"
