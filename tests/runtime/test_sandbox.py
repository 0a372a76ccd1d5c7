"""A stage is held to what it declares: by the kernel where it has Landlock, and by a trace that tells."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mlflowc.cli import main
from mlflowc.errors import Failure
from mlflowc.ir.model import Env, Input, Keep, StageOutput
from mlflowc.runtime.events import Outcome, StageResult
from mlflowc.runtime.execute import Options, run
from mlflowc.runtime.plan import make_plan
from mlflowc.runtime.sandbox import access, landlock, trace
from mlflowc.runtime.sandbox.guard import Guard
from mlflowc.runtime.sandbox.mend import mends
from mlflowc.runtime.sandbox.model import Finding, Mode
from tests.conftest import IN_CI
from tests.runtime.lab import DIR, FILE, Lab, stage
from tests.support import project

needs_landlock = pytest.mark.skipif(
    not landlock.abi() and not IN_CI, reason="this kernel has no Landlock: `enforce` cannot be tried"
)
needs_strace = pytest.mark.skipif(
    bool(trace.missing()) and not IN_CI, reason="there is no strace that works: `audit` cannot be tried"
)


def tried(lab: Lab, mode: Mode, name: str = "a") -> StageResult:
    """Runs everything in the sandbox; the result of one stage."""
    ws = lab.open()
    try:
        result = run(ws, make_plan(ws), Options(2, True, Guard(ws, mode)), lab.heard)
    finally:
        ws.close()
    found = result.stage(name)
    assert found is not None
    return found


def enforced(lab: Lab, name: str = "a") -> StageResult:
    """Runs everything with undeclared files refused."""
    return tried(lab, Mode.ENFORCE, name)


def audited(lab: Lab, name: str = "a") -> list[tuple[str, str]]:
    """Runs everything under audit: what a stage read and wrote undeclared."""
    return [(f.act, f.path) for f in tried(lab, Mode.AUDIT, name).findings]


# --- what is refused


@needs_landlock
@pytest.mark.parametrize(
    "command",
    [
        "cat secret.txt",
        "cat sub/secret.txt",
        "cat link.txt",
        "cp secret.txt {o:out}",
        "ln secret.txt {o:out}2",
        "mv secret.txt moved.txt",
        "echo x > stray.txt",
        "echo x >> in.txt",
        "rm in.txt",
        "mkdir folder",
        "truncate -s 0 secret.txt",
        "cat .mlpipe/private",
        'cat "$HOME/notes"',
        "python3 -c 'open(\"secret.txt\")'",
        "(cat secret.txt &) ; wait; bash -c 'exec cat secret.txt'",
    ],
)
def test_refused(
    lab: Lab, command: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path_factory.mktemp("home")
    (home / "notes").write_text("n")
    monkeypatch.setenv("HOME", str(home))
    for path in ("in.txt", "secret.txt", "sub/secret.txt", ".mlpipe/private"):
        lab.write(path, "content\n")
    (lab.root / "link.txt").symlink_to("secret.txt")
    lab.stages = [
        stage("a", command + " ;; touch {o:out}", reads={"in": "./in.txt"}, writes={"out": "out.txt"})
    ]
    result = enforced(lab)
    assert result.outcome is Outcome.FAILED, lab.heard.text
    assert b"denied" in lab.heard.text
    assert "`mlpipec run a --sandbox audit` names them" in result.help
    assert lab.read("secret.txt") == lab.read("in.txt") == "content\n"
    assert not (lab.root / "out.txt").exists()
    # Nothing else was in its way.
    ws = lab.open()
    lab.heard.text.clear()
    run(ws, make_plan(ws), Options(), lab.heard)
    ws.close()
    assert b"denied" not in lab.heard.text


# --- what is allowed


@needs_landlock
@pytest.mark.parametrize(
    "command",
    [
        "cat {i:in} > {o:out}",
        "sort < {i:in} | tee {o:out} | head -n 1; cat {o:out}",
        "cp {i:in} {o:out}; truncate -s 3 {o:out}; cat {o:out}",
        "T=$(mktemp -d); cp {i:in} $T/x; sort -o $T/y $T/x; cat $T/y > {o:out}",
        "cat folder/deep/a.txt linked/../linked.txt > {o:out}",
        "python3 prog.py {i:in} {o:out}",
        "echo > /dev/null; echo x 2>/dev/stderr > {o:out}; ls > /dev/null",
        "cat <(cat {i:in}) <<< here > {o:out}; cat << X >> {o:out}\nhere\nX",
    ],
)
def test_allowed(lab: Lab, command: str) -> None:
    lab.write("in.txt", "3\n1\n")
    lab.write("folder/deep/a.txt", "a")
    outside = lab.write("../elsewhere.txt", "e")
    (lab.root / "linked.txt").symlink_to(outside)
    lab.write("linked/x", "")
    lab.write("helper.py", "def copy(a, b):\n    open(b, 'w').write(open(a).read())\n")
    lab.write("prog.py", "import sys, helper, json\nhelper.copy(sys.argv[1], sys.argv[2])\n")
    lab.stages = [
        stage(
            "a",
            command,
            reads={"in": "./in.txt", "folder": "./folder", "linked": "./linked.txt"},
            writes={"out": "out.txt"},
        )
    ]
    result = enforced(lab)
    assert result.outcome is Outcome.RAN, (result.message, lab.heard.text)
    assert audited(lab) == []


@needs_landlock
def test_an_output_in_a_folder_of_its_own_may_be_made_in_any_way(lab: Lab) -> None:
    lab.write("out/other.txt", "o")
    command = (
        "mkdir {o:dir}; echo 1 > {o:dir}/tmp; mv {o:dir}/tmp {o:dir}/x; ln -s x {o:dir}/y; cat {o:dir}/y"
        " ;; echo 1 > out/a/.tmp; mv out/a/.tmp {o:file}; cat {o:file}; mkdir out/a/more; rmdir out/a/more"
    )
    lab.stages = [
        stage("a", command, writes={"dir": "out/a/d", "file": "out/a/f"}, types={"dir": DIR, "file": FILE})
    ]
    result = enforced(lab)
    assert result.outcome is Outcome.RAN, (result.message, lab.heard.text)
    assert (lab.root / "out/a/d/y").is_symlink()


@needs_landlock
def test_outputs_beside_other_things_are_written_in_place(lab: Lab) -> None:
    lab.write("other.txt", "o")
    lab.stages = [
        stage(
            "a",
            "echo 1 > {o:f}; cat {o:f}; mkdir -p {o:d}/x; echo 2 > {o:d}/x/y; mv {o:d}/x/y {o:d}/z",
            writes={"f": "f.txt", "d": "d"},
            types={"d": DIR},
        )
    ]
    assert enforced(lab).outcome is Outcome.RAN, lab.heard.text
    assert (lab.root / "d/z").exists()


@needs_landlock
def test_an_output_that_was_not_written_is_missed(lab: Lab) -> None:
    lab.stages = [stage("a", "echo 1 > {o:x}", writes={"x": "x.txt", "y": "y.txt"})]
    result = enforced(lab)
    assert "did not write output `y`" in result.message
    assert not (lab.root / "y.txt").exists()


@needs_landlock
def test_an_output_that_was_made_empty_counts(lab: Lab) -> None:
    lab.stages = [stage("a", ": > {o:x}; touch {o:y}", writes={"x": "x.txt", "y": "y.txt"})]
    assert enforced(lab).outcome is Outcome.RAN


@needs_landlock
def test_the_outputs_of_others_in_the_same_folder_stay_shut(lab: Lab) -> None:
    lab.stages = [
        stage("a", "echo 1 > {o:x}", writes={"x": "out/x.txt"}),
        stage("b", "cat out/x.txt > {o:y}", writes={"y": "out/y.txt"}, after=("a",)),
    ]
    assert enforced(lab, "b").outcome is Outcome.FAILED
    lab.change("b", lambda s: replace(s, inputs=(Input("x", FILE, (StageOutput("a", "x"),)),)))
    assert enforced(lab, "b").outcome is Outcome.RAN


@needs_landlock
def test_kept_files(lab: Lab) -> None:
    keeps = (Keep("state", "keep/state.txt"), Keep("folder", "kept/"))
    command = "cat {k:state} || true; echo 1 >> {k:state}; touch {k:folder}/f; cp {k:state} {o:x}"
    lab.stages = [stage("a", command, writes={"x": "x.txt"}, keeps=keeps)]
    assert enforced(lab).outcome is Outcome.RAN, lab.heard.text
    assert lab.read("keep/state.txt") == "1\n"
    lab.write("keep/foreign.txt", "")
    lab.change("a", lambda s: replace(s, commands=(*s.commands, ("true",))))
    assert enforced(lab).outcome is Outcome.RAN, lab.heard.text
    assert lab.read("x.txt") == "1\n1\n"


@needs_landlock
def test_a_kept_file_that_cannot_be_opened_alone_is_said(lab: Lab) -> None:
    keeps = (Keep("state", "state.txt"),)
    lab.stages = [stage("a", "touch {k:state} {o:x}", writes={"x": "x.txt"}, keeps=keeps)]
    result = enforced(lab)
    assert "cannot open `state.txt` alone" in result.message
    assert 'as in "a/state.txt"' in result.help


@needs_landlock
def test_programs_beside_the_project_are_part_of_its_environment(
    lab: Lab, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path_factory.mktemp("tools")
    (tools / "bin").mkdir()
    (tools / "share").mkdir()
    (tools / "share/words").write_text("word\n")
    (tools / "bin/words").write_text(f"#!/bin/sh\ncat {tools}/share/words\n")
    (tools / "bin/words").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}/bin:{os.environ['PATH']}")
    lab.stages = [stage("a", "words > {o:x}", writes={"x": "x.txt"})]
    assert enforced(lab).outcome is Outcome.RAN, lab.heard.text
    lab.change("a", lambda s: replace(s, commands=((*s.commands[0], " "),)))
    assert audited(lab) == []


@needs_landlock
@pytest.mark.parametrize("name", ["PATH", "LD_LIBRARY_PATH"])
@pytest.mark.parametrize("entry", ["", "bin", ".."])
def test_variables_that_lead_to_the_project_do_not_open_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, name: str, entry: str
) -> None:
    lab.write("secret.txt", "s")
    lab.write("bin/tool", "#!/bin/sh\necho\n").chmod(0o755)
    place = os.path.normpath(lab.root / entry)
    monkeypatch.setenv(name, f"{place}:{os.environ.get(name, '')}")
    lab.stages = [stage("a", "cat secret.txt > {o:x}", writes={"x": "x.txt"})]
    assert enforced(lab).outcome is Outcome.FAILED
    assert b"denied" in lab.heard.text
    if not trace.missing():
        assert audited(lab) == [("read", "secret.txt")]


@needs_landlock
def test_a_project_in_a_system_folder_is_no_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "srv/p").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/words").write_text("w\n")
    (tmp_path / "srv/words").write_text("w\n")
    monkeypatch.setattr(access, "_SYSTEM", (*access._SYSTEM, str(tmp_path)))
    lab = Lab(tmp_path / "srv/p")
    lab.write("secret.txt", "s")
    lab.stages = [stage("a", "cat ../words ../../other/words > {o:x}", writes={"x": "x.txt"})]
    assert enforced(lab).outcome is Outcome.RAN, lab.heard.text
    lab.stages = [stage("a", "cat secret.txt > {o:x}", writes={"x": "x.txt"})]
    assert enforced(lab).outcome is Outcome.FAILED


@needs_landlock
def test_a_timeout_ends_a_confined_command(lab: Lab) -> None:
    lab.stages = [stage("a", "sleep 60 & sleep 60", writes={"x": "x.txt"}, timeout=1)]
    assert "longer than its timeout" in enforced(lab).message


def test_what_is_not_there_is_said_before_anything_runs(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.stages = [stage("a", "echo > {o:x}", writes={"x": "x.txt"})]
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    with pytest.raises(Failure, match="cannot enforce the sandbox here: it takes Landlock"):
        enforced(lab)
    monkeypatch.setattr(landlock.sys, "platform", "darwin")  # type: ignore[attr-defined]
    with pytest.raises(Failure, match="which only Linux has"):
        enforced(lab)
    assert not (lab.root / "x.txt").exists()


def test_a_kernel_that_refuses_is_no_silent_pass(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.stages = [stage("a", "echo > {o:x}", writes={"x": "x.txt"})]
    monkeypatch.setattr(landlock, "abi", lambda: 1)
    monkeypatch.setattr(landlock, "_syscall", lambda *args: -1)
    result = enforced(lab)
    assert "the kernel did not make a set of rules" in result.message
    assert lab.heard.text == b""


def test_older_kernels_are_asked_for_what_they_know() -> None:
    assert not landlock._known(0)
    assert landlock.Right.REFER not in landlock._known(1)
    assert landlock.Right.REFER in landlock._known(2)
    assert landlock.Right.TRUNCATE in landlock._known(3)
    assert landlock.Right.IOCTL_DEV not in landlock._known(4)
    assert landlock._known(5) == landlock._known(9) == landlock.ALL


def test_a_container_is_out_of_reach(lab: Lab) -> None:
    if trace.missing():
        pytest.skip("no strace")
    lab.envs = (Env("box", stage("x", "").place, image="debian@sha256:0"),)
    lab.stages = [stage("a", "echo > {o:x}", writes={"x": "x.txt"})]
    ws = lab.open()
    step = make_plan(ws).steps[0]
    boxed = replace(step, stage=replace(step.stage, env="box"))
    with pytest.raises(Failure, match="does not reach into a container"):
        access.of(ws, boxed, {}, "/tmp/x", access.Owners(ws.pipeline), strict=True)


# --- what is told


@needs_strace
@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("cat secret.txt", [("read", "secret.txt")]),
        ("(cd sub; cat secret.txt ../secret.txt)", [("read", "sub/secret.txt"), ("read", "secret.txt")]),
        ("(cd sub && cat ./secret.txt); cat in.txt", [("read", "sub/secret.txt")]),
        ("cat link.txt", [("read", "link.txt")]),
        ("cat 'odd \"ü\" name.txt'", [("read", 'odd "ü" name.txt')]),
        ("echo x > stray.txt; cat stray.txt; rm stray.txt", [("write", "stray.txt")]),
        ("ln secret.txt {o:out}2", [("read", "secret.txt"), ("write", "out.txt2")]),
        ("mv secret.txt moved.txt", [("write", "secret.txt"), ("write", "moved.txt")]),
        (
            "python3 -c \"import sys; sys.path.insert(0, 'hid'+'den'); __import__('mod')\"",
            [("read", "hidden/mod.py")],
        ),
        ("./tool", [("read", "tool")]),
        ("cat nothing.txt || true; [ -e secret.txt ]; ls sub", []),
        ("sleep 60 & cat {i:in}", []),
        ("for i in 1 2 3 4 5 6 7 8; do cat secret.txt & done; wait", [("read", "secret.txt")]),
    ],
)
def test_audit_tells(lab: Lab, command: str, found: list[tuple[str, str]]) -> None:
    for path in ("in.txt", "secret.txt", "sub/secret.txt", 'odd "ü" name.txt', "hidden/mod.py"):
        lab.write(path, "1\n")
    (lab.root / "link.txt").symlink_to("secret.txt")
    lab.write("tool", "#!/bin/sh\necho tool\n").chmod(0o755)
    lab.stages = [
        stage(
            "a",
            command + " ;; echo > {o:out}",
            reads={"in": "./in.txt"},
            writes={"out": "out.txt"},
            code=replace(stage("x", "").code, mode="none"),
        )
    ]
    result = tried(lab, Mode.AUDIT)
    assert result.outcome is Outcome.RAN, lab.heard.text
    assert sorted((f.act, f.path) for f in result.findings) == sorted(found)


@needs_strace
def test_an_audit_changes_nothing(lab: Lab) -> None:
    lab.stages = [stage("a", "echo said; exit 7", writes={"x": "x.txt"})]
    assert tried(lab, Mode.AUDIT).message == "exit code 7"
    assert lab.heard.text == b"said\n"
    lab.stages = [stage("a", "kill -9 $$", writes={"x": "x.txt"})]
    assert "SIGKILL" in tried(lab, Mode.AUDIT).message
    lab.stages = [stage("a", "sleep 60 & sleep 60", writes={"x": "x.txt"}, timeout=1)]
    assert "longer than its timeout" in tried(lab, Mode.AUDIT).message
    assert not list((lab.root / ".mlpipe/tmp").glob("*.trace"))


@needs_strace
def test_home_is_outside(
    lab: Lab, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path_factory.mktemp("home")
    (home / "notes").write_text("n")
    monkeypatch.setenv("HOME", str(home))
    lab.stages = [stage("a", 'cat "$HOME/notes" > {o:x}', writes={"x": "x.txt"})]
    assert audited(lab) == [("read", f"{home}/notes")]


@needs_strace
def test_bytecode_stands_for_its_module(lab: Lab) -> None:
    lab.write("helper.py", "x = 1\n")
    lab.write("prog.py", "import helper\n")
    import py_compile

    py_compile.compile(str(lab.root / "helper.py"))
    lab.stages = [stage("a", "python3 prog.py; touch {o:x}", writes={"x": "x.txt"})]
    assert audited(lab) == []


def test_without_a_tracer_there_is_a_clear_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = project.new(tmp_path / "p")
    monkeypatch.chdir(made.path)
    monkeypatch.setenv("PATH", str(tmp_path))
    trace.missing.cache_clear()
    try:
        with pytest.raises(SystemExit) as end:
            monkeypatch.setattr(sys, "argv", ["mlpipec", "run", "--sandbox", "audit"])
            main()
    finally:
        trace.missing.cache_clear()
    assert end.value.code == 1
    assert "cannot audit here: install strace" in capsys.readouterr().err
    assert not (made.path / "out").exists()


def test_a_tracer_that_may_not_trace_is_no_silent_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "strace"
    fake.write_text("#!/bin/sh\necho 'strace: ptrace(PTRACE_SEIZE): Operation not permitted' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    trace.missing.cache_clear()
    try:
        assert "strace may not trace: strace: ptrace(PTRACE_SEIZE)" in trace.missing()
    finally:
        trace.missing.cache_clear()


@needs_strace
def test_a_command_that_opens_much_leaves_nothing_on_the_disk(lab: Lab) -> None:
    lab.write("secret.txt", "s\n")
    lab.write("other.txt", "o\n")
    loop = "for i in $(seq 3000); do read -r x < {i:other}; done; read -r x < secret.txt; ls -s .mlpipe/tmp"
    lab.stages = [
        stage("a", f"{loop} || true; echo > {{o:x}}", reads={"other": "./other.txt"}, writes={"x": "x.txt"})
    ]
    assert ("read", "secret.txt") in audited(lab)
    sizes = [line.split() for line in lab.heard.text.decode().splitlines()]
    assert [s[0] for s in sizes if s[-1].endswith(".trace")] == ["0"]
    assert not list((lab.root / ".mlpipe/tmp").glob("*.trace"))


@needs_strace
def test_what_a_command_leaves_running_elsewhere_does_not_hold_up_the_run(lab: Lab) -> None:
    loop = "for i in $(seq 2000); do cat /dev/null; sleep 0.05; done"
    command = f"setsid bash -c '{loop}' > /dev/null 2>&1 & echo $! > {{o:x}}"
    lab.stages = [stage("a", command, writes={"x": "x.txt"})]
    assert tried(lab, Mode.AUDIT).outcome is Outcome.RAN
    # It goes on: neither did the run wait for it, nor did it end it.
    os.kill(int(lab.read("x.txt")), signal.SIGKILL)


def test_a_trace_of_nothing_is_no_silent_pass(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "missing", lambda: "")
    monkeypatch.setattr(trace, "command", lambda log: ("sh", "-c", f': > "{log}"; exec "$@"', "sh"))
    lab.stages = [stage("a", "echo > {o:x}", writes={"x": "x.txt"})]
    assert "strace did not trace it" in tried(lab, Mode.AUDIT).message


def test_lines_of_a_trace_that_are_cut_in_two() -> None:
    text = (
        '7 openat(AT_FDCWD</p>, "a", O_RDONLY <unfinished ...>\n'
        '8 openat(AT_FDCWD</p>, "b", O_RDONLY) = -1 ENOENT (No such file or directory)\n'
        '9 chdir("s" <unfinished ...>\n'
        "7 <... openat resumed>) = 3</p/a>\n"
        "9 <... chdir resumed>)         = 0\n"
        '9 rename("c", "d") = 0\n'
        '9 openat(4</q>, "e", O_RDWR|O_CREAT, 0666) = 5</q/e>(deleted)\n'
        '9 openat(AT_FDCWD</p/s>, "f", O_RDONLY|O_PATH) = 5</p/s/f>\n'
        "9 +++ exited with 0 +++\n"
        "9 <... unknown"
    )
    assert [tuple(t) for t in trace.touches(text.splitlines(), "/p")] == [
        ("read", "/p/a", "/p/a"),
        ("both", "/p/s/c", "/p/s/c"),
        ("write", "/p/s/d", "/p/s/d"),
        ("both", "/q/e", "/q/e"),
    ]


# --- what would mend it


def test_lines_that_mend(chain: Lab) -> None:
    pipeline = chain.pipeline()
    found = [
        Finding("score", "data/rows.txt"),
        Finding("score", "conf/best.yaml"),
        Finding("load", "data/best.txt"),
        Finding("load", "/home/x/file"),
        Finding("load", ".git/HEAD"),
        Finding("clean", "stray", "write"),
        *(Finding("clean", f"images/{n}.png") for n in range(9)),
    ]
    told = [(m.stage, m.line or m.help.partition(":")[0]) for m in mends(pipeline, found)]
    assert told == [
        ("load", "the repository's history is no input"),
        ("load", "`clean` makes it, and itself depends on `load`"),
        ("load", "it is outside of the project"),
        ("clean", 'in images = "images"'),
        ("clean", "a stage may write its outputs, what it keeps, and `$TMPDIR`"),
        ("score", 'in best_2 = "conf/best.yaml"'),
        ("score", "in rows = load.rows"),
    ]


def test_instances_of_a_stage_are_mended_by_one_line(lab: Lab) -> None:
    stages = [
        replace(stage(f"fit[{c}]", "x", writes={"m": f"m/{c}"}), name="fit", each=(("lang", c),))
        for c in ("de", "fr")
    ]
    lab.stages = [*stages, stage("end", "x", writes={"z": "z"})]
    found = [
        Finding("fit[de]", "conf/de/x.yaml"),
        Finding("fit[fr]", "conf/fr/x.yaml"),
        Finding("end", "m/de"),
    ]
    told = mends(lab.pipeline(), found)
    assert [(m.stage, m.line, len(m.paths)) for m in told] == [
        ("fit", 'in x = "conf/{{lang}}/x.yaml"', 2),
        ("end", 'in m = fit["de"].m', 1),
    ]


FIXABLE = """\
mlpipe 1
pipeline fixable

# What comes in.
data raw = "raw.csv"

stage prep { # {braces} in a comment
  # first
  out clean = "out/clean.csv"   # of the cleaning
  run = "cat raw.csv conf/a.json > {{clean}}"
}

stage fit each lang in ["de", "fr"] {
  in  clean = prep.clean   # what to learn from
  out model = "m/{{lang}}/model.txt"
  run = "cat {{clean}} conf/{{lang}}.txt > {{model}}; cat extra.txt"
}
"""


@needs_strace
def test_fix_writes_what_is_missing_and_then_nothing_is(tmp_path: Path) -> None:
    made = project.new(tmp_path / "p", FIXABLE)
    made.write(
        {"raw.csv": "1\n", "conf/a.json": "{}", "conf/de.txt": "d", "conf/fr.txt": "f", "extra.txt": "e"}
    )
    first = made.mlpipec("run", "--sandbox", "audit", "--json")
    told = {(m["stage"], m["line"]) for m in json.loads(first.out)["undeclared"]}
    assert (
        told
        == {
            ("prep", "in raw"),
            ("prep", 'in a = "conf/a.json"'),
            ("fit", 'in conf = "conf/{{lang}}.txt"'),
            ("fit", 'in extra = "extra.txt"'),
        }
        or ("fit", 'in txt = "conf/{{lang}}.txt"') in told
    )
    assert "add at pipeline.mlpipe:7: in raw" in first.err
    idle = made.mlpipec("run", "--sandbox", "audit")
    assert "nothing ran, so nothing was looked at (--force runs them)" in idle.err

    fixed = made.mlpipec("run", "--sandbox", "audit", "--force", "--fix")
    assert "wrote 4 lines into pipeline.mlpipe" in fixed.err
    text = made.read("pipeline.mlpipe")
    for comment in (
        "# What comes in.",
        "# {braces} in a comment",
        "# first",
        "# of the cleaning",
        "# what to learn from",
    ):
        assert comment in text
    made.mlpipec("fmt", "--check")
    made.mlpipec("check")
    again = made.mlpipec("run", "--sandbox", "audit")
    assert "audit: 3 stages looked at, all is declared" in again.err
    if landlock.abi():
        made.mlpipec("run", "--sandbox", "enforce", "--force")


@needs_strace
def test_exec_and_the_setting(tmp_path: Path) -> None:
    made = project.new(tmp_path / "p", FIXABLE)
    made.write({"raw.csv": "1\n", "conf/a.json": "{}"})
    told = made.mlpipec("exec", "prep", "--sandbox", "audit")
    assert "undeclared: stage `prep` reads `conf/a.json`" in told.err
    assert "undeclared" not in made.mlpipec("run", "prep", "--force").err
    assert "undeclared" in made.mlpipec("run", "prep", "--force", MLPIPEC_SANDBOX="audit").err
    if landlock.abi():
        failed = made.mlpipec("run", "prep", "--force", code=1, MLPIPEC_SANDBOX="enforce")
        assert "the sandbox refuses files that the stage does not declare" in failed.err


def test_fix_belongs_to_an_audit(tmp_path: Path) -> None:
    made = project.new(tmp_path / "p")
    assert "--sandbox audit" in made.mlpipec("run", "--fix", code=2).err


@needs_landlock
def test_a_project_with_an_environment_of_its_own(lab: Lab) -> None:
    """A virtual environment in the project folder, first on PATH, is the command's."""
    import subprocess

    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(lab.root / ".venv")], check=True)
    site = next((lab.root / ".venv/lib").glob("python3*/site-packages"))
    (site / "inside.py").write_text("x = 1\n")
    program = shlex.quote(f"{lab.root}/.venv/bin")
    lab.stages = [
        stage(
            "a",
            f"PATH={program}:$PATH; python -c 'import inside, ssl' ;; touch {{o:x}}",
            writes={"x": "x.txt"},
        )
    ]
    assert enforced(lab).outcome is Outcome.FAILED
    old = os.environ["PATH"]
    os.environ["PATH"] = f"{lab.root}/.venv/bin:{old}"
    try:
        assert enforced(lab).outcome is Outcome.RAN, lab.heard.text
    finally:
        os.environ["PATH"] = old
