"""The sandbox around the command of a stage: what is prepared before it, found and tidied up after it."""

from __future__ import annotations

import contextlib
import copy
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from mlflowc.errors import Failure
from mlflowc.ir.model import Stage
from mlflowc.runtime.plan import Step
from mlflowc.runtime.ports import Command
from mlflowc.runtime.sandbox import access, landlock, trace
from mlflowc.runtime.sandbox.access import Access
from mlflowc.runtime.sandbox.landlock import Rule
from mlflowc.runtime.sandbox.model import Finding, Mode
from mlflowc.runtime.workspace import Workspace

# A time that no command sets by writing: what still has it was not touched.
_UNTOUCHED_NS = 1_000_000_000


@dataclass
class Guarded:
    """One command in the sandbox: run `command`; `findings` are known when the context has ended."""

    command: Command
    findings: tuple[Finding, ...] = field(default=())


class Guard:
    """The sandbox of one run, for all its stages."""

    def __init__(self, ws: Workspace, mode: Mode) -> None:
        """Raises `Failure` where this system cannot do what `mode` asks for."""
        refuse_impossible(mode)
        self.mode = mode
        self._ws = ws
        self._owners = access.Owners(ws.pipeline)

    def at(self, ws: Workspace) -> Guard:
        """The same for commands that run in the folder of `ws`."""
        if ws is self._ws:
            return self
        other = copy.copy(self)
        other._ws = ws
        return other

    @contextmanager
    def around(self, step: Step, command: Command) -> Iterator[Guarded]:
        """Around the one run of a command. Raises `Failure` where the stage cannot be held to it."""
        temporary = Path(tempfile.mkdtemp(prefix="mlpipec-"))
        try:
            env = {**command.env, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))}
            strict = self.mode is Mode.ENFORCE
            allowed = access.of(self._ws, step, env, str(temporary), self._owners, strict=strict)
            command = replace(command, env=env)
            if strict:
                yield from self._enforced(allowed, command)
            else:
                yield from self._audited(step, allowed, command)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def explained(self, stage: Stage, failure: Failure) -> Failure:
        """The failure of a command, with what the sandbox may have to do with it."""
        if self.mode is not Mode.ENFORCE:
            return failure
        hint = (
            "the sandbox refuses files that the stage does not declare; "
            f"`mlpipec run {shlex.quote(stage.id)} --sandbox audit` names them"
        )
        return Failure(failure.message, help="\n".join(t for t in (failure.help, hint) if t))

    def _enforced(self, allowed: Access, command: Command) -> Iterator[Guarded]:
        with _placeholders(allowed):
            yield Guarded(replace(command, confine=_restriction(allowed)))

    def _audited(self, step: Step, allowed: Access, command: Command) -> Iterator[Guarded]:
        log = self._ws.state / "tmp" / f"{os.getpid()}-{id(command)}.trace"
        log.parent.mkdir(parents=True, exist_ok=True)
        heard = trace.Trace(log, str(command.cwd))
        guarded = Guarded(replace(command, wrap=trace.command(log)))
        try:
            yield guarded
            guarded.findings = tuple(findings(step.stage.id, allowed, heard.end()))
        finally:
            heard.close()
            log.unlink(missing_ok=True)


def refuse_impossible(mode: Mode) -> None:
    """Raises `Failure` where this system cannot do what `mode` asks for."""
    if mode is Mode.ENFORCE and (why := landlock.missing()):
        raise Failure(
            f"cannot enforce the sandbox here: {why}",
            help="nothing ran; `--sandbox audit` tells of undeclared files where strace is installed",
        )
    if mode is Mode.AUDIT and (why := trace.missing()):
        raise Failure(why, help="nothing ran; an audit watches commands through strace, on Linux")


def findings(stage: str, allowed: Access, touches: list[trace.Touch]) -> Iterator[Finding]:
    """What of all that was touched is not declared; each path once, reads first found first."""
    written: set[str] = set()
    found: dict[str, Finding] = {}
    for act, path, real in touches:
        if act != "read":
            if not (allowed.may_write(path) or allowed.may_write(real)):
                shown = _shown(allowed, path, real)
                found.setdefault(shown, Finding(stage, shown, "write"))
            written |= {path, real}
            continue
        # What it wrote itself is no input.
        if path in written or real in written:
            continue
        sources = (access.bytecode_source(path), access.bytecode_source(real))
        if not any(allowed.may_read(p) for p in sources):
            shown = _shown(allowed, *sources)
            found.setdefault(shown, Finding(stage, shown, "read"))
    yield from found.values()


def rules(allowed: Access) -> Iterator[Rule]:
    """The access as rules of the kernel."""
    # Names may be listed everywhere in the project: looking for a module lists folders.
    yield Rule(allowed.root, landlock.NAMES)
    for path in access.system(allowed):
        yield Rule(path, landlock.READ)
    for path in allowed.devices:
        yield Rule(path, landlock.DEVICE)
    # What programs share memory through.
    yield Rule("/dev/shm", landlock.ALL)
    for path in sorted(allowed.reads):
        yield Rule(path, landlock.READ)
    for path in sorted(allowed.writes):
        yield Rule(path, landlock.ALL)


def _restriction(allowed: Access) -> Callable[[], None]:
    wanted = list(rules(allowed))
    return lambda: landlock.restrict(wanted)


@contextmanager
def _placeholders(allowed: Access) -> Iterator[None]:
    """Something to give rights to where an output will be; what was not touched goes away again."""
    made: list[str] = []
    try:
        for path, folder in allowed.placeholders:
            if os.path.lexists(path):
                continue
            if folder:
                Path(path).mkdir()
                continue
            Path(path).touch()
            os.utime(path, ns=(_UNTOUCHED_NS, _UNTOUCHED_NS))
            made.append(path)
        yield
    finally:
        for path in made:
            with contextlib.suppress(OSError):
                st = os.lstat(path)
                if st.st_size == 0 and st.st_mtime_ns == _UNTOUCHED_NS:
                    Path(path).unlink()


def _shown(allowed: Access, path: str, real: str) -> str:
    """The path as the pipeline would name it: what the command said where that lies in the project."""
    for place in (path, real):
        if place.startswith(allowed.root + "/"):
            return place[len(allowed.root) + 1 :]
    return real
