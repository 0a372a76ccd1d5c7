"""`mlpipec cache` and shared results, as people and jobs use them; the remote is a folder."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from tests.support.project import MLPIPEC
from tests.support.remote_project import Checkout, results

MAIN = {"CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": "push", "GITHUB_REF": "refs/heads/main"}


def pull_request(number: int) -> dict[str, str]:
    """The variables of its jobs."""
    return {**MAIN, "GITHUB_EVENT_NAME": "pull_request", "GITHUB_REF": f"refs/pull/{number}/merge"}


@pytest.fixture
def block(tmp_path: Path) -> str:
    """A `cache` block that everybody writes to."""
    return f'cache {{ remote = "{tmp_path / "remote"}", write = all }}'


@pytest.fixture
def maker(tmp_path: Path, block: str) -> Checkout:
    """A project whose results are in the remote."""
    made = Checkout(tmp_path / "maker" / "p").make(block)
    assert results(made("run")) == 3
    assert made.ran == ["load", "split", "score"]
    return made


@pytest.fixture
def other(tmp_path: Path, block: str) -> Checkout:
    """The same project elsewhere, fresh."""
    return Checkout(tmp_path / "other" / "p").make(block)


def objects(checkout: Checkout) -> int:
    """How many contents are in a checkout's cache."""
    return sum(1 for _ in (checkout.root / ".mlpipe" / "cache" / "objects").glob("??/*"))


def test_what_one_made_another_takes(maker: Checkout, other: Checkout) -> None:
    assert "3 restored" in other("run")
    assert (other.ran, other.outputs()) == ([], maker.outputs())
    assert "pushed" not in other("run")


def test_only_what_is_read_is_fetched(maker: Checkout, other: Checkout) -> None:
    assert "in the cache" in other("status", "score")
    assert objects(other) == 1, "asking needs no data but the file of metrics, whose numbers are told"
    other("run", "score")
    assert [name for name in other.outputs() if name != "out/parts"] == ["out/scores.json"]
    assert objects(other) == 1
    # One input changes: what it is made from is fetched, and nothing else.
    text = (other.root / "pipeline.mlpipe").read_text().replace("| wc -l", "| wc -l | tr -d ' '")
    (other.root / "pipeline.mlpipe").write_text(text)
    other("run", "score")
    assert other.ran == ["score"]
    assert "out/parts/tool.sh" in other.outputs()
    assert not any(n.endswith(("big.bin", "out/rows.txt")) for n in other.outputs())


def test_metrics_and_the_lock_need_no_data(maker: Checkout, other: Checkout) -> None:
    shutil.copy(maker.root / "mlpipe.lock", other.root / "mlpipe.lock")
    shutil.rmtree(maker.root.parent.parent / "remote")
    assert "the lock agrees" in other("verify")
    assert objects(other) == 0


def test_a_record_whose_content_was_collected_is_a_miss(
    maker: Checkout, other: Checkout, tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "remote" / "v1" / "trusted" / "objects")
    text = other("run")
    assert "error" not in text
    assert (other.ran, other.outputs()) == (["load"], maker.outputs())
    # And who made it again has mended the remote.
    third = Checkout(tmp_path / "third" / "p").make(
        (other.root / "pipeline.mlpipe").read_text().splitlines()[2]
    )
    third("run")
    assert (third.ran, third.outputs()) == ([], maker.outputs())


def test_a_damaged_remote_is_a_miss(maker: Checkout, other: Checkout, tmp_path: Path) -> None:
    for path in (tmp_path / "remote").rglob("*"):
        if path.is_file():
            path.write_bytes(bytes(path.stat().st_size))
    assert "error" not in other("run")
    assert (other.ran, other.outputs()) == (["load", "split", "score"], maker.outputs())


def test_a_laptop_writes_only_when_told(tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    laptop = Checkout(tmp_path / "a" / "p").make(f'cache {{ remote = "{remote}" }}')
    assert "pushed" not in laptop("run")
    assert not remote.exists()
    text = laptop("cache", "push")
    assert "only you read" in text
    assert [p.name for p in (remote / "v1").iterdir()] == ["untrusted"]
    never = Checkout(tmp_path / "b" / "p").make(f'cache {{ remote = "{remote}", write = none }}')
    never("run", "--no-remote")
    assert "write = none" in never("cache", "push", code=1)


def test_the_command_line_names_another_remote(maker: Checkout, tmp_path: Path) -> None:
    plain = Checkout(tmp_path / "plain" / "p").make()
    assert "there is no remote" in plain("cache", "pull", code=2)
    plain("run", "--remote", "../../remote")
    assert plain.ran == []
    elsewhere = Checkout(tmp_path / "elsewhere" / "p").make()
    elsewhere("run", "--no-remote", "--remote", "")
    assert elsewhere.ran == ["load", "split", "score"]


def test_a_dry_run_and_the_run_agree(maker: Checkout, other: Checkout) -> None:
    said = json.loads(other("run", "--dry", "--json"))["stages"]
    assert {s["stage"]: s["action"] for s in said} == dict.fromkeys(["load", "split", "score"], "restore")
    assert other("run", "--dry", "score").count("would") == 1
    done = json.loads(other("run", "--json", "score").partition("\n{")[2].join(["{", ""]))
    assert [s["outcome"] for s in done["stages"]] == ["kept", "kept", "restored"]


# --- jobs


def test_jobs_of_main_share_and_pull_requests_keep_to_themselves(tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    block = f'cache {{ remote = "{remote}" }}'

    def job(env: dict[str, str], raw: str) -> Checkout:
        found = Checkout(tmp_path / f"job{len(list(tmp_path.glob('job*')))}" / "p", env).make(block, raw)
        found("exec", "load")
        return found

    evil = job(pull_request(1), "changed\n")
    assert evil.ran == ["load"]
    assert [p.name for p in (remote / "v1").iterdir()] == ["untrusted"]
    assert job(pull_request(1), "changed\n").ran == [], "its own comes back"
    assert job(pull_request(2), "changed\n").ran == ["load"], "another's does not"
    assert job(MAIN, "changed\n").ran == ["load"], "and main makes it anew"
    assert job(MAIN, "changed\n").ran == []
    assert job(pull_request(3), "changed\n").ran == [], "what main made is for all"


def test_a_job_of_an_event_goes_through_the_remote(maker: Checkout, other: Checkout) -> None:
    other.env.update(MAIN)
    other("exec", "check", "--on", "pull-request")
    assert other.ran == []
    assert "out/rows.txt" not in other.outputs()


# --- the commands


def test_push_and_pull(maker: Checkout, other: Checkout, tmp_path: Path) -> None:
    said = json.loads(maker("cache", "push", "--json"))
    assert (said["pushed"], said["there"], said["bytes"]) == (0, 3, 0)
    assert json.loads(other("cache", "pull", "--json", "split"))["fetched"] == ["load", "split"]
    assert not (other.root / "out").exists(), "it only fills the cache"
    again = json.loads(other("cache", "pull", "--json", "split"))
    assert (again["fetched"], again["here"]) == ([], ["load", "split"])
    shutil.rmtree(tmp_path / "remote")
    assert "1 result fetched" not in other("cache", "pull", "score", code=1)
    other("run", "--no-remote", "split")
    assert other.ran == []


def test_stat_and_verify(maker: Checkout, tmp_path: Path) -> None:
    said = json.loads(maker("cache", "stat", "--json"))
    assert said["cache"]["results"] == 3
    assert said["remote"]["namespaces"]["trusted"]["results"] == 3
    assert "0 damaged" in maker("cache", "verify")
    assert "0 damaged" in maker("cache", "verify", "--in-remote")
    (big,) = (p for p in (maker.root / ".mlpipe/cache/objects").glob("??/*") if p.stat().st_size > 1_000_000)
    (there,) = (tmp_path / "remote/v1/trusted/objects").glob("??/*")
    for path in (big, there):
        path.chmod(0o644)
        # Behind the index's back: the size and the time are as before.
        st = path.stat()
        with path.open("r+b") as file:
            file.write(b"y")
        os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))
    found = json.loads(maker("cache", "verify", "--json", code=1))
    assert found["damaged"] == [f"objects/{big.parent.name}{big.name}"]
    assert len(found["incomplete"]) == 1
    assert not big.exists()
    maker("cache", "verify", "--in-remote", code=1)
    assert there.exists()
    maker("cache", "verify", "--in-remote", "--drop", code=1)
    assert not there.exists()
    assert "--drop belongs" in maker("cache", "verify", "--drop", code=2)


def test_export_and_import(maker: Checkout, tmp_path: Path) -> None:
    assert "3 results" in maker("cache", "export", str(tmp_path / "all.tar"))
    other = Checkout(tmp_path / "other" / "p").make()
    assert "3 new" in other("cache", "import", str(tmp_path / "all.tar"))
    other("run")
    assert (other.ran, other.outputs()) == ([], maker.outputs())
    data = bytearray((tmp_path / "all.tar").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "bad.tar").write_bytes(data)
    third = Checkout(tmp_path / "third" / "p").make()
    assert "nothing of it was taken in" in third("cache", "import", str(tmp_path / "bad.tar"), code=1)
    assert "there is no file" in third("cache", "import", "none.tar", code=1)


def test_gc_keeps_what_the_lock_names(maker: Checkout) -> None:
    want = maker.outputs()
    (maker.root / "raw.txt").write_text("other\n")
    maker("run", "--no-remote")
    before = objects(maker)
    dry = json.loads(maker("cache", "gc", "--keep", "1ms", "--dry", "--json"))
    assert (dry["results"] > 0, objects(maker)) == (True, before)
    done = json.loads(maker("cache", "gc", "--keep", "1ms", "--json"))
    assert {**done, "dry": True} == dry
    assert objects(maker) < before
    maker.ran  # noqa: B018 - forgets what ran so far
    shutil.rmtree(maker.root / "out")
    maker("run", "--no-remote")
    assert maker.ran == [], "what the lock names is all there"
    # What went comes back from the remote.
    (maker.root / "raw.txt").write_text("a\nb\n")
    maker("run")
    assert (maker.ran, maker.outputs()) == ([], want)


def test_gc_keeps_what_other_branches_name(maker: Checkout) -> None:
    def git(*args: str) -> None:
        subprocess.run(["git", *args], cwd=maker.root, check=True, capture_output=True)

    git("init", "-q", "-b", "main")
    git("add", "mlpipe.lock")
    git("commit", "-qm", "results")
    git("switch", "-qc", "topic")
    (maker.root / "raw.txt").write_text("other\n")
    maker("run", "--no-remote")
    git("commit", "-qam", "others")
    assert json.loads(maker("cache", "gc", "--refs", "--keep", "1ms", "--json"))["results"] == 0
    assert json.loads(maker("cache", "gc", "--keep", "1ms", "--json"))["results"] > 0


def test_gc_to_a_size_drops_the_least_recently_used(maker: Checkout) -> None:
    for text in ("one\n", "two\n", "three\n"):
        (maker.root / "raw.txt").write_text(text)
        maker("run", "--no-remote")
    (maker.root / "mlpipe.lock").unlink()
    json.loads(maker("cache", "gc", "--max-size", "100KB", "--json"))
    assert json.loads(maker("cache", "stat", "--json"))["cache"]["bytes"] < 1_000_000
    for bad in (["--keep", "soon"], ["--keep", "5GiB"], ["--max-size", "30d"]):
        assert "is not a" in maker("cache", "gc", *bad, code=2)


def test_gc_waits_for_nobody_to_use_the_cache(maker: Checkout) -> None:
    with (maker.root / ".mlpipe" / "gc.lock").open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        assert "in use" in maker("cache", "gc", "--keep", "1ms", code=1)
    assert "removed" in maker("cache", "gc", "--keep", "1ms")


def test_a_run_holds_the_cache_while_it_lasts(tmp_path: Path) -> None:
    text = 'mlpipe 1\npipeline p\nstage wait { out x = "x.txt", run = "touch begun; cat fifo > {{x}}" }\n'
    root = tmp_path / "p"
    root.mkdir()
    (root / "pipeline.mlpipe").write_text(text)
    os.mkfifo(root / "fifo")
    process = subprocess.Popen([MLPIPEC, "run"], cwd=root, stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while not (root / "begun").exists():
            assert time.monotonic() < end
            time.sleep(0.02)
        assert "in use" in Checkout(root)("cache", "gc", code=1)
        (root / "fifo").write_text("done\n")
        assert process.wait(60) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(30)
    assert "stay" in Checkout(root)("cache", "gc")


def test_a_gc_that_is_killed_leaves_no_name_without_content(maker: Checkout) -> None:
    (maker.root / "mlpipe.lock").unlink()
    process = subprocess.Popen(
        [MLPIPEC, "cache", "gc", "--keep", "1ms"], cwd=maker.root, stdout=subprocess.DEVNULL
    )
    cache = maker.root / ".mlpipe" / "cache"
    while process.poll() is None and len(list((cache / "records").glob("??/*"))) == 3:
        pass
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    assert json.loads(maker("cache", "verify", "--json"))["incomplete"] == []
    shutil.rmtree(maker.root / "out")
    maker("run")
    assert "enough" in maker("run")


def test_policy(maker: Checkout) -> None:
    text = maker("cache", "policy", "aws", "--remote", "s3://bucket/x", "--repository", "acme/ml")
    assert "arn:aws:s3:::bucket/x/v1/trusted/*" in text
    assert "repo:acme/ml:pull_request" in text
    assert "is not one of aws" in maker("cache", "policy", "aws", code=2)


def test_generated_jobs_install_what_the_remote_needs(tmp_path: Path) -> None:
    for n, (address, count) in enumerate((("s3://bucket/x", 3), ("/mnt/cache", 0))):
        checkout = Checkout(tmp_path / f"{n}" / "p").make(f'cache {{ remote = "{address}" }}')
        subprocess.run(["git", "init", "-q"], cwd=checkout.root, check=True)
        checkout("build", "--target", "github")
        (file,) = (checkout.root / ".github" / "workflows").iterdir()
        # The plan, which looks what is there, the job that runs the stages, the one that decides the gates.
        assert file.read_text().count("mlflowc[remote]") == count


def test_without_the_clients_a_run_goes_on(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    for name in ("obstore", "paramiko"):
        (hidden / f"{name}.py").write_text(
            f"raise ModuleNotFoundError(\"No module named '{name}'\", name='{name}')\n"
        )
    for n, address in enumerate(("s3://bucket/x", "ssh://host/x")):
        checkout = Checkout(tmp_path / f"{n}" / "p", {"PYTHONPATH": str(hidden)})
        checkout.make(f'cache {{ remote = "{address}", write = all }}')
        text = checkout("run")
        assert "pip install 'mlflowc[remote]'" in text
        assert checkout.ran == ["load", "split", "score"]
        assert "pip install 'mlflowc[remote]'" in checkout("cache", "push", code=1)


def test_a_remote_is_imported_only_when_it_is_asked(maker: Checkout) -> None:
    code = (
        "import sys; from mlflowc.cli import main\n"
        "sys.argv = ['mlpipec', 'run']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted(m for m in sys.modules if m in ('obstore', 'paramiko') or 'remotes.' in m))"
    )
    done = subprocess.run(
        [MLPIPEC.with_name("python"), "-c", code], cwd=maker.root, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_record_that_came_without_its_content_is_no_dead_end(maker: Checkout, other: Checkout) -> None:
    # Asking puts records into the cache here; a job for the last stage alone then needs the content behind.
    other("status")
    assert objects(other) == 1, "the metrics"
    text = (other.root / "pipeline.mlpipe").read_text().replace("| wc -l", "| wc -l | tr -d ' '")
    (other.root / "pipeline.mlpipe").write_text(text)
    other("exec", "score")
    assert other.ran == ["score"]


def test_gc_in_the_remote(maker: Checkout, other: Checkout, tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    (maker.root / "raw.txt").write_text("other\n")
    maker("run")
    month = time.time() - 40 * 24 * 3600
    for path in remote.rglob("*"):
        os.utime(path, (month, month))
    ask = ("cache", "gc", "--in-remote", "--keep", "30d")
    dry = json.loads(maker(*ask, "--dry", "--json"))
    assert (dry["results"], dry["files"], dry["dry"]) == (3, 0, True)
    assert dry["later"] > 0, "the lock's own three stay"
    first = maker(*ask)
    assert "3 results and 0 files removed" in first
    assert "can go with a call in 24 h" in first
    for path in remote.rglob("condemned/*"):
        os.utime(path, (month, month))
    second = json.loads(maker("cache", "gc", "--in-remote", "--json"))
    assert second["files"] > 0
    assert second["later"] == 0
    (other.root / "raw.txt").write_text("other\n")
    assert "3 restored" in other("run")
    assert other.outputs() == maker.outputs()
    assert json.loads(maker("cache", "verify", "--in-remote", "--json"))["incomplete"] == []


def test_gc_in_the_remote_keeps_to_its_namespace(maker: Checkout, tmp_path: Path) -> None:
    job = Checkout(tmp_path / "job" / "p", pull_request(1)).make(
        f'cache {{ remote = "{tmp_path / "remote"}" }}'
    )
    (job.root / "raw.txt").write_text("theirs\n")
    job("exec", "load")
    now = ("cache", "gc", "--in-remote", "--grace", "0s", "--max-size", "0MiB", "--json")
    (job.root / "mlpipe.lock").unlink(missing_ok=True)
    assert json.loads(job(*now))["namespaces"] == ["untrusted/pr-1"]
    assert list((tmp_path / "remote" / "v1" / "untrusted").rglob("records/??/*")) == []
    assert len(list((tmp_path / "remote" / "v1" / "trusted").rglob("records/??/*"))) == 3
    assert "is none" in job(*now, "--namespace", "elsewhere", code=2)
    assert "belong to --in-remote" in job("cache", "gc", "--grace", "1h", code=2)
    both = json.loads(maker(*now, "--namespace", "all"))
    assert "trusted" in both["namespaces"]
    assert both["results"] == 0, "the lock names them"


def test_results_are_pushed_while_the_run_goes_on(tmp_path: Path) -> None:
    """The second stage waits until the first one's result is in the remote."""
    remote = tmp_path / "remote"
    folder = tmp_path / "p"
    folder.mkdir()
    (folder / "pipeline.mlpipe").write_text(
        f"""\
mlpipe 1
pipeline waits
cache {{ remote = "{remote}", write = all }}
stage first {{ out a = "a.txt", run = "echo a > {{{{a}}}}" }}
stage second {{
  in  a = first.a
  out b = "b.txt"
  run = \"\"\"
  for i in $(seq 600); do
    if ls {remote}/v1/trusted/records/*/* > /dev/null 2>&1; then echo there > {{{{b}}}}; exit 0; fi
    sleep 0.1
  done
  exit 1
  \"\"\"
}}
"""
    )
    text = Checkout(folder)("run")
    assert results(text) == 2
    assert (folder / "b.txt").read_text() == "there\n"


def test_what_could_not_be_pushed_is_pushed_later(tmp_path: Path) -> None:
    remote = tmp_path / "share" / "remote"
    maker = Checkout(tmp_path / "maker" / "p").make(f'cache {{ remote = "{remote}", write = all }}')
    text = maker("run")
    assert text.count("warning") == 1, "the folder above it is gone: a mount, perhaps"
    assert results(text) == 0
    remote.parent.mkdir()
    assert "3 results pushed" in maker("cache", "push")


def test_jobs_hand_over_records_where_the_remote_has_the_rest(maker: Checkout, other: Checkout) -> None:
    def objects_in(path: Path) -> list[str]:
        with tarfile.open(path) as bundle:
            return [m.name for m in bundle if m.name.startswith(("objects/", "trees/"))]

    other.env.update(MAIN)
    text = other("exec", "score", "--on", "pull-request")
    assert other.ran == []
    assert objects(other) == 1, "nothing had to come but the metrics"
    assert objects_in(other.root / "mlpipe-bundles" / "score.tar") == []
    assert "score.tar" in text
    other.forget()
    other("exec", "score", "--on", "pull-request", "--no-remote")
    assert objects_in(other.root / "mlpipe-bundles" / "score.tar") != []
    assert other.ran != []


def test_the_plan_finds_results_in_the_remote(tmp_path: Path) -> None:
    """A job on a machine that costs is not started when its results are there; what follows takes them."""
    text = f"""\
mlpipe 1
pipeline demo
cache {{ remote = "{tmp_path / "remote"}" }}
runner big {{ gpu = 1, github = ["self-hosted", "gpu"] }}
data raw: file = "raw.txt"
stage a {{ in raw, out x = "x.txt", run = "cp {{{{raw}}}} {{{{x}}}}" }}
stage b {{ in x = a.x, out y: metrics {{ n: int }} = "y.json", runner = big, run = "cp {{{{x}}}} {{{{y}}}}" }}
gate g {{ require b.y.n >= 1 }}
on push("main") {{ run = [g] }}
"""

    def job(name: str) -> Checkout:
        made = Checkout(tmp_path / name, {**MAIN})
        made.root.mkdir()
        (made.root / "pipeline.mlpipe").write_text(text)
        (made.root / "raw.txt").write_text('{"n": 3}')
        return made

    def plan(checkout: Checkout) -> dict[str, str]:
        (checkout.root / "found").unlink(missing_ok=True)
        checkout("exec", "plan", "--on", "push-main", "--outputs", "found", "--format", "github")
        return dict(line.split("=", 1) for line in (checkout.root / "found").read_text().splitlines())

    first = job("first")
    assert plan(first)["remote-b"] == "false"
    first("exec", "a", "--on", "push-main")
    first("exec", "b", "--on", "push-main")
    second = job("second")
    assert plan(second)["remote-b"] == "true"
    assert "n" in job("third")("exec", "check", "--on", "push-main"), "without any bundle"
    (second.root / "raw.txt").write_text('{"n": 4}')
    assert plan(second)["remote-b"] == "false"
    second.env.update(pull_request(1))
    shutil.rmtree(tmp_path / "remote")
    (tmp_path / "remote").write_text("no folder")
    assert "remote-b" not in plan(second), "one that fails tells nothing"
