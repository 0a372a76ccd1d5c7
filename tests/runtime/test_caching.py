"""What runs again, and what does not."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import pytest

from mlflowc.ir.model import Code
from mlflowc.runtime import closure
from mlflowc.runtime.events import Outcome
from mlflowc.runtime.plan import Action
from tests.runtime.lab import DIR, Lab, stage

RAN, KEPT, RESTORED = Outcome.RAN, Outcome.KEPT, Outcome.RESTORED


def test_a_second_run_does_nothing(chain: Lab) -> None:
    first = chain.run()
    assert first.ok
    assert set(chain.heard.ran) == {"load", "clean", "score", "other"}
    assert chain.read("data/best.txt") == "1\n2\n"
    second = chain.run()
    assert second.ok
    assert chain.heard.ran == []
    assert {r.outcome for r in second.stages} == {KEPT}
    assert [r.key for r in first.stages] == [r.key for r in second.stages]


def test_the_lock_holds_keys_outputs_metrics_and_params(chain: Lab) -> None:
    chain.run()
    lock = chain.open().lock
    score, clean = lock.stage("score"), lock.stage("clean")
    assert score is not None
    assert clean is not None
    assert score.metrics == {"scores": {"n": 2}}
    assert clean.params == {"clean.top": 2}
    before = chain.read("mlpipe.lock")
    chain.run()
    assert chain.read("mlpipe.lock") == before


def test_a_changed_parameter_reruns_what_depends_on_it(chain: Lab) -> None:
    chain.run()
    chain.params["clean.top"] = 1
    assert chain.outcomes() == {"load": KEPT, "clean": RAN, "score": RAN, "other": KEPT}
    assert chain.heard.reasons["clean"] == "parameter `clean.top` changed: 2 → 1"


def test_a_parameter_of_another_type_is_another_value(chain: Lab) -> None:
    chain.run()
    chain.params["clean.top"] = 2.0
    assert chain.actions()["clean"] is Action.RUN


def test_going_back_restores_without_running(chain: Lab) -> None:
    chain.run()
    chain.params["clean.top"] = 1
    chain.run()
    chain.params["clean.top"] = 2
    assert chain.outcomes() == {"load": KEPT, "clean": RESTORED, "score": RESTORED, "other": KEPT}
    assert chain.read("data/best.txt") == "1\n2\n"
    assert chain.heard.ran == []


def test_a_changed_input_file_reruns_and_cuts_off_early(chain: Lab) -> None:
    chain.run()
    chain.write("raw.txt", "2\n1\n3\n")
    # `load` and `clean` run; `clean` sorts, so its output is as before and `score` is up to date after all.
    assert chain.outcomes() == {"load": RAN, "clean": RAN, "score": KEPT, "other": KEPT}
    assert chain.run().ok
    assert chain.heard.ran == []


def test_deleted_outputs_come_back_from_the_cache(chain: Lab) -> None:
    chain.run()
    shutil.rmtree(chain.root / "data")
    for name in ("scores.yaml", "greeting.txt"):
        (chain.root / name).unlink()
    assert set(chain.actions().values()) == {Action.RESTORE}
    result = chain.run()
    assert result.ok
    assert {r.outcome for r in result.stages} == {RESTORED}
    assert chain.heard.ran == []
    assert chain.read("data/rows.txt") == "3\n1\n2\n"
    assert set(chain.actions().values()) == {Action.KEEP}


def test_an_edited_output_is_put_right(chain: Lab) -> None:
    chain.run()
    chain.write("data/best.txt", "9\n")
    assert chain.outcomes()["clean"] is RESTORED
    assert chain.read("data/best.txt") == "1\n2\n"


def test_a_deleted_lock_is_written_again_without_running(chain: Lab) -> None:
    chain.run()
    before = chain.read("mlpipe.lock")
    (chain.root / "mlpipe.lock").unlink()
    chain.run()
    assert chain.heard.ran == []
    assert chain.read("mlpipe.lock") == before


def test_a_lost_index_costs_no_run(chain: Lab) -> None:
    chain.run()
    for leftover in (chain.root / ".mlpipe").glob("index.db*"):
        leftover.unlink()
    shutil.rmtree(chain.root / "data")
    assert RAN not in chain.outcomes().values()
    assert chain.read("data/best.txt") == "1\n2\n"


def test_only_what_a_target_needs_is_run(chain: Lab) -> None:
    assert set(chain.outcomes("clean")) == {"load", "clean"}
    assert not (chain.root / "greeting.txt").exists()


def test_force_runs_the_targets_and_nothing_before_them(chain: Lab) -> None:
    chain.run()
    assert chain.outcomes("clean", force=True) == {"load": KEPT, "clean": RAN}
    assert set(chain.outcomes(force=True).values()) == {RAN}


def test_the_plan_says_what_the_run_does(chain: Lab) -> None:
    assert chain.actions() == {
        "load": Action.RUN,
        "clean": Action.WAIT,
        "score": Action.WAIT,
        "other": Action.RUN,
    }
    chain.run()
    assert chain.plan().idle


def test_a_new_command_reruns_and_a_new_name_does_not(chain: Lab) -> None:
    chain.run()
    chain.change("other", lambda s: replace(s, commands=(("echo hi > ", s.commands[0][1]),)))
    assert chain.outcomes()["other"] is RAN
    chain.change("other", lambda s: replace(s, id="third", name="third", timeout=60, retry=3))
    assert chain.outcomes()["third"] is KEPT
    assert chain.open().lock.stage("other") is None


def test_a_touched_input_is_not_a_changed_one(chain: Lab) -> None:
    chain.run()
    os.utime(chain.root / "raw.txt", ns=(1, 1))
    assert chain.run().ok
    assert chain.heard.ran == []


def test_an_input_with_its_old_size_and_mtime_is_still_noticed(chain: Lab) -> None:
    chain.run()
    path = chain.root / "raw.txt"
    st = path.stat()
    path.write_text("4\n1\n2\n")
    os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))
    assert chain.outcomes()["load"] is RAN


def test_a_script_and_the_module_it_imports_are_inputs(lab: Lab) -> None:
    lab.write("src/helper.py", "WORD = 'one'\n")
    lab.write("src/make.py", "import sys, helper\nopen(sys.argv[1], 'w').write(helper.WORD)\n")
    lab.stages = [stage("make", "python3 src/make.py {o:word}", writes={"word": "word.txt"})]
    assert lab.run().ok
    lab.write("src/helper.py", "WORD = 'two'\n")
    assert lab.outcomes() == {"make": RAN}
    assert lab.heard.reasons["make"] == "code `src/helper.py` changed"
    assert lab.read("word.txt") == "two"
    lab.write("src/make.py", "import sys, helper\nopen(sys.argv[1], 'w').write(helper.WORD + '!')\n")
    assert lab.outcomes() == {"make": RAN}
    lab.write("src/unrelated.py", "1")
    assert lab.outcomes() == {"make": KEPT}


def test_code_by_syntax_tree_ignores_comments(lab: Lab) -> None:
    lab.write("make.py", "import sys\nopen(sys.argv[1], 'w').write('1')\n")
    lab.stages = [stage("make", "python3 make.py {o:word}", writes={"word": "w"}, code=Code(key="ast"))]
    lab.run()
    lab.write("make.py", "# a comment\nimport sys\n\nopen(sys.argv[1], 'w').write('1')\n")
    assert lab.outcomes() == {"make": KEPT}
    lab.write("make.py", "import sys\nopen(sys.argv[1], 'w').write('2')\n")
    assert lab.outcomes() == {"make": RAN}


def test_a_syntax_tree_is_worked_out_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.write("make.py", "import sys\nopen(sys.argv[1], 'w').write('1')\n")
    lab.stages = [stage("make", "python3 make.py {o:word}", writes={"word": "w"}, code=Code(key="ast"))]
    lab.run()
    with monkeypatch.context() as forbidden:
        forbidden.setattr(closure, "normalised_file", lambda *args: pytest.fail("it was parsed again"))
        assert lab.outcomes() == {"make": KEPT}
    lab.write("make.py", "import sys\nopen(sys.argv[1], 'w').write('22')\n")
    assert lab.outcomes() == {"make": RAN}


def test_code_declared_by_hand_and_none(lab: Lab) -> None:
    lab.write("lib/a.txt", "1")
    lab.write("make.sh", "echo x > w\n")
    command = "sh make.sh"
    lab.stages = [stage("make", command, writes={"w": "w"}, code=Code("paths", ("lib/",)))]
    lab.run()
    lab.write("make.sh", "echo y > w\n")
    assert lab.outcomes() == {"make": KEPT}
    lab.write("lib/b.txt", "2")
    assert lab.outcomes() == {"make": RAN}
    lab.stages = [stage("make", command, writes={"w": "w"}, code=Code("none"))]
    lab.run()
    lab.write("lib/a.txt", "3")
    assert lab.outcomes() == {"make": KEPT}


def test_a_glob_follows_files_that_come_and_go(lab: Lab) -> None:
    lab.write("in/a.txt", "a\n")
    lab.stages = [stage("cat", "cat {i:all} > {o:out}", reads={"all": "glob:in/*.txt"}, writes={"out": "o"})]
    lab.run()
    lab.write("in/b c.txt", "b\n")
    assert lab.outcomes() == {"cat": RAN}
    assert lab.read("o") == "a\nb\n"
    (lab.root / "in/a.txt").unlink()
    assert lab.outcomes() == {"cat": RAN}
    assert lab.read("o") == "b\n"


def test_a_folder_keeps_links_empty_folders_and_exec_bits(lab: Lab) -> None:
    command = (
        "mkdir -p {o:d}/empty {o:d}/sub; echo '#!/bin/sh' > {o:d}/sub/tool; chmod +x {o:d}/sub/tool; "
        "ln -s sub/tool {o:d}/link; head -c 200000 /dev/zero > {o:d}/big"
    )
    lab.stages = [stage("make", command, writes={"d": "out/d/"}, types={"d": DIR})]
    assert lab.run().ok
    shutil.rmtree(lab.root / "out")
    assert lab.outcomes() == {"make": RESTORED}
    d = lab.root / "out/d"
    assert (d / "empty").is_dir()
    assert os.access(d / "sub/tool", os.X_OK)
    assert str((d / "link").readlink()) == "sub/tool"
    assert (d / "big").stat().st_size == 200000
    assert lab.outcomes() == {"make": KEPT}
    (d / "empty").rmdir()
    assert lab.outcomes() == {"make": RESTORED}


def test_an_executable_output_stays_one(lab: Lab) -> None:
    lab.stages = [stage("make", "echo true > {o:tool}; chmod +x {o:tool}", writes={"tool": "bin/tool"})]
    lab.run()
    (lab.root / "bin/tool").unlink()
    lab.run()
    assert os.access(lab.root / "bin/tool", os.X_OK)


def test_a_folder_as_input_counts_by_content(lab: Lab) -> None:
    lab.write("in/a.txt", "a")
    lab.stages = [stage("ls", "ls -R {i:d} > {o:out}", reads={"d": "./in"}, writes={"out": "o"})]
    lab.run()
    lab.write("in/__pycache__/x.pyc", "droppings")
    assert lab.outcomes() == {"ls": KEPT}
    (lab.root / "in/empty").mkdir()
    assert lab.outcomes() == {"ls": RAN}


def test_the_same_content_twice_is_one_object(lab: Lab) -> None:
    lab.stages = [stage("two", "echo x > {o:a}; echo x > {o:b}", writes={"a": "a.txt", "b": "b.txt"})]
    lab.run()
    assert len(list((lab.root / ".mlpipe/cache/objects").glob("??/*"))) == 1
    (lab.root / "a.txt").unlink()
    assert lab.outcomes() == {"two": RESTORED}


def test_stages_in_a_folder_of_their_own(lab: Lab) -> None:
    lab.write("sub/in.txt", "hello\n")
    lab.stages = [
        stage("up", "cat {i:a} > {o:b}", reads={"a": "./sub/in.txt"}, writes={"b": "out/b.txt"}, dir="sub")
    ]
    assert lab.run().ok
    assert lab.read("out/b.txt") == "hello\n"
