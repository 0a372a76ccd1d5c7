"""Data from web servers, with everything that servers do: pinned, resumed, refused, gone."""

from __future__ import annotations

import gzip
import hashlib
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.feeds import Asked, Handler, Web, cut, lock, project, serving, slow, status, wait_for
from tests.support.project import MLPIPEC
from tests.support.remote_project import Checkout

ONE = "id,x\n1,2\n"
TWO = "id,x\n1,2\n3,4\n"
WRONG = "id,x\n1,2\n1,oops\n"


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as found:
        found.put(ONE)
        yield found


@pytest.fixture
def repo(web: Web, tmp_path: Path) -> Checkout:
    return project(tmp_path / "repo", f'url("{web.url}/feed.csv")')


def rows(checkout: Checkout) -> str:
    """What the stage made of the data."""
    return (checkout.root / "out/rows.csv").read_text()


def test_the_first_use_pins_and_nothing_moves_by_itself(web: Web, repo: Checkout) -> None:
    assert "data `feed` is not pinned yet" in repo("status")
    assert "data `feed` is not pinned yet" in repo("run", "--dry")
    assert not web.asked and not lock(repo)
    said = repo("run")
    assert "data feed: pinned 9 B, etag" in said and "commit `mlpipe.lock`" in said
    assert rows(repo) == ONE and repo.ran == ["copy"]
    (line,) = lock(repo)
    assert '"source":{"url":"' in line and '"version":{"etag":' in line
    web.put(TWO)
    web.asked.clear()
    assert "nothing to do" in repo("run")
    assert "nothing to do" in repo("status")
    assert "agrees" in repo("verify")
    assert not web.asked and lock(repo) == [line]


def test_update_shows_and_takes_what_is_new(web: Web, repo: Checkout) -> None:
    repo("run")
    assert "up to date" in repo("update")
    assert "no data source has anything newer" in repo("status", "--sources")
    web.put(TWO)
    assert "feed has something newer" in repo("status", "--sources")
    before = lock(repo)
    assert "→ 13 B, etag" in repo("update", "--dry") and lock(repo) == before
    said = repo("update", "feed")
    assert "feed: 9 B, etag" in said and "→ 13 B, etag" in said and "1 of 1 updated" in said
    assert lock(repo) != before
    assert "input `feed` changed: data `feed`" in repo("why", "copy")
    assert "input `feed` changed: data `feed`" in repo("status")
    repo("run")
    assert rows(repo) == TWO
    # The old lock gives the old data and its result, from the cache.
    web.asked.clear()
    path = repo.root / "mlpipe.lock"
    kept = [line for line in path.read_text().splitlines() if not line.startswith("data ")]
    path.write_text("\n".join([*kept, *before]) + "\n")
    assert "1 restored" in repo("run")
    assert rows(repo) == ONE and not web.asked


def test_the_same_content_under_another_version_is_nothing_new(web: Web, repo: Checkout) -> None:
    web.etags = False
    repo("run")
    web.modified = "Tue, 02 Jan 2024 00:00:00 GMT"
    assert "the same content" in repo("update")
    assert '"last_modified":"Tue, 02 Jan' in lock(repo)[0]
    assert "nothing to do" in repo("run")


def test_a_server_that_tells_nothing(web: Web, repo: Checkout) -> None:
    web.etags = web.times = False
    repo("run")
    assert '"version":{}' in lock(repo)[0]
    assert "cannot tell whether it has changed" in repo("update", "--dry")
    assert "nothing new" in repo("update")
    # Without the bytes here, they are the pinned ones by their hash or not at all.
    repo.forget()
    repo("pull")
    assert (repo.root / ".mlpipe/data/feed/feed.csv").read_text() == ONE
    repo.forget()
    web.put(TWO)
    said = repo("pull", code=1)
    assert "other content than `mlpipe.lock` pins" in said and "mlpipec update feed" in said


def test_the_pinned_content_under_another_version(web: Web, repo: Checkout) -> None:
    web.etags = False
    repo("run")
    pinned = lock(repo)
    repo.forget()
    web.modified = "Tue, 02 Jan 2024 00:00:00 GMT"
    assert "1 ran" in repo("run") and lock(repo) == pinned
    repo.forget()
    web.put(ONE[::-1])
    web.modified = "Wed, 03 Jan 2024 00:00:00 GMT"
    assert "has another version now" in repo("run", code=1) and lock(repo) == pinned


def test_a_fresh_clone_needs_no_bytes_and_fetches_what_it_runs(web: Web, repo: Checkout) -> None:
    repo("run")
    repo.forget()
    web.asked.clear()
    assert "agrees" in repo("verify")
    assert "would run" in repo("status")
    assert not web.asked
    assert "1 ran" in repo("run") and rows(repo) == ONE
    assert [a.path for a in web.asked if a.method == "GET"] == ["/feed.csv"]


def test_a_pinned_version_that_is_gone(web: Web, repo: Checkout) -> None:
    repo("run")
    web.put(TWO)
    pinned = lock(repo)
    repo.forget()
    said = repo("run", code=1)
    assert "has another version now: its etag was" in said and "mlpipec update feed" in said
    assert "`mlpipe.lock` pins 9 B" in said and lock(repo) == pinned
    del web.files["/feed.csv"]
    said = repo("run", code=1)
    assert "nothing is there (404)" in said and lock(repo) == pinned
    web.put(ONE)
    assert "1 ran" in repo("run")


def test_an_update_that_fails_leaves_the_last_good_copy(web: Web, repo: Checkout) -> None:
    repo("run")
    pinned = lock(repo)
    place = repo.root / ".mlpipe/data/feed/feed.csv"
    for answer, says in (
        (status(404), "nothing is there (404)"),
        (status(410), "it is gone for good (410)"),
        (status(403), "it refuses access (403)"),
        (status(401), "it wants credentials (401)"),
        (status(418), "it answers 418"),
    ):
        web.faults[:] = [answer]
        said = repo("update", code=1)
        assert says in said and "data `feed`: http://127.0.0.1" in said
        assert lock(repo) == pinned and place.read_text() == ONE
    web.faults.clear()
    assert "nothing to do" in repo("run")


def test_data_that_is_not_of_its_type_is_not_pinned(web: Web, repo: Checkout) -> None:
    repo("run")
    pinned = lock(repo)
    web.put(WRONG)
    said = repo("update", code=1)
    assert "data `feed`" in said and "oops" in said and "unique" in said
    assert lock(repo) == pinned
    web.put(WRONG.replace("oops", "9").replace("1,9", "5,9"))
    assert "1 of 1 updated" in repo("update")


def test_another_type_is_checked_before_it_is_believed(web: Web, repo: Checkout) -> None:
    repo("run")
    path = repo.root / "pipeline.mlpipe"
    text = path.read_text()
    path.write_text(text.replace("x: int", "x: int in 5..9"))
    assert "its type said something else" in repo("verify", code=1)
    said = repo("run", code=1)
    assert "5..9" in said
    path.write_text(text.replace("x: int", "x: int in 0..9"))
    assert "up to date" in repo("run") and repo.ran == ["copy"]
    assert "agrees" in repo("verify")


def test_another_source_is_another_pin(web: Web, repo: Checkout) -> None:
    repo("run")
    web.put(TWO, "/other.csv")
    path = repo.root / "pipeline.mlpipe"
    path.write_text(path.read_text().replace("/feed.csv", "/other.csv"))
    assert "pinned from another source" in repo("verify", code=1)
    assert "pinned 13 B" in repo("run") and rows(repo) == TWO
    path.write_text(
        path.read_text().replace("data feed:", "data other:").replace("in  feed", "in feed = other")
    )
    repo("run")
    assert [line.split()[1] for line in lock(repo)] == ["other"]


def test_in_ci_nothing_is_pinned_by_the_way(web: Web, repo: Checkout) -> None:
    said = repo("run", code=1, env={"CI": "true"})
    assert "is not pinned yet, and in CI nothing is pinned" in said and "mlpipec update feed" in said
    assert "--locked was given" in repo("run", "--locked", code=1)
    assert "data feed: data `feed` is not pinned yet" in repo("verify", code=1)
    assert not web.asked and not lock(repo)
    repo("update", env={"CI": "true"})
    assert "1 ran" in repo("run", "--locked", env={"CI": "true"})


def test_a_line_that_breaks_is_taken_up_again(web: Web, repo: Checkout) -> None:
    body = "id,x\n" + "".join(f"{n},{n}\n" for n in range(20_000))
    web.put(body)
    web.faults.append(cut(50_000, times=3))
    repo("run")
    assert rows(repo) == body
    first, *others = [a for a in web.asked if a.method == "GET"]
    assert "Range" not in first.headers
    assert [a.headers["Range"] for a in others] == ["bytes=50000-", "bytes=100000-", "bytes=150000-"]
    assert all("If-Range" in a.headers for a in others) and web.sent == len(body)


def test_a_body_that_is_always_too_short(web: Web, repo: Checkout) -> None:
    web.faults.append(cut(4))
    # Without a version, what came cannot be gone on with: it would be of who knows what.
    web.etags = web.times = False
    said = repo.hasty()("run", code=1)
    assert "only 4 of 9 bytes came" in said and not lock(repo)
    web.faults.clear()
    repo("run")
    assert rows(repo) == ONE


def test_errors_that_pass(web: Web, repo: Checkout) -> None:
    web.faults += [status(503, times=1), status(429, times=1, Retry_After="0")]
    repo("run")
    assert rows(repo) == ONE
    web.put(TWO)
    web.faults[:] = [status(503)]
    assert "it answers 503" in repo.hasty()("update", code=1)


def test_a_killed_fetch_is_gone_on_with(web: Web, repo: Checkout) -> None:
    body = "id,x\n" + "".join(f"{n},{n}\n" for n in range(200_000))
    web.put(body)
    go_on = threading.Event()
    web.faults.append(slow(1_000_000, go_on))
    process = subprocess.Popen([MLPIPEC, "update"], cwd=repo.root, env={**repo.env, "PATH": "/usr/bin:/bin"})
    try:
        parts = repo.root / ".mlpipe/fetch"
        wait_for(lambda: any(p.stat().st_size > 200_000 for p in parts.rglob("*.part")))
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    finally:
        go_on.set()
        process.kill()
        process.wait(30)
    assert not lock(repo)
    web.asked.clear()
    repo("run")
    assert rows(repo) == body
    (got,) = web.gets()
    assert int(got.headers["Range"].removeprefix("bytes=").rstrip("-")) > 200_000
    assert not list((repo.root / ".mlpipe/fetch").rglob("*.part"))


def test_a_server_that_knows_no_head_and_no_ranges(web: Web, repo: Checkout) -> None:
    def plain(asked: Asked, handler: Handler) -> bool:
        if asked.method == "HEAD":
            handler.answer(405, b"")
            return True
        del handler.headers["Range"]
        return False

    web.faults.append(plain)
    repo("run")
    assert rows(repo) == ONE


def test_redirects_and_whose_token_it_is(web: Web, tmp_path: Path) -> None:
    with serving() as other:
        other.put(ONE, "/there.csv")

        def away(asked: Asked, handler: Handler) -> bool:
            if asked.path == "/feed.csv":
                handler.answer(302, b"", Location="/nearer.csv")
            elif asked.path == "/nearer.csv":
                handler.answer(307, b"", Location=f"{other.url}/there.csv?signature=abc")
            return asked.path in ("/feed.csv", "/nearer.csv")

        web.faults.append(away)
        repo = project(tmp_path / "repo", f'url("{web.url}/feed.csv", token = "env:FEED_TOKEN")')
        repo("run", env={"FEED_TOKEN": "s3cret-token"})
        assert rows(repo) == ONE
        assert {a.headers.get("Authorization") for a in web.asked} == {"Bearer s3cret-token"}
        assert all("Authorization" not in a.headers for a in other.asked)


def test_a_token_is_needed_and_never_kept(web: Web, tmp_path: Path) -> None:
    def guarded(asked: Asked, handler: Handler) -> bool:
        if asked.headers.get("Authorization") != "Bearer s3cret-token":
            handler.answer(401, b"")
            return True
        return False

    web.faults.append(guarded)
    repo = project(tmp_path / "repo", f'url("{web.url}/feed.csv", token = "env:FEED_TOKEN")')
    assert "the secret `FEED_TOKEN` is not set" in repo("run", code=1)
    assert "it refuses these credentials (401)" in repo("run", code=1, env={"FEED_TOKEN": "wrong-one"})
    said = repo("run", env={"FEED_TOKEN": "s3cret-token"})
    kept = [p for p in repo.root.rglob("*") if p.is_file() and b"s3cret" in p.read_bytes()]
    assert "s3cret" not in said and not kept
    # Which variable holds it is no part of what data it is.
    path = repo.root / "pipeline.mlpipe"
    path.write_text(path.read_text().replace("FEED_TOKEN", "OTHER_TOKEN"))
    assert "agrees" in repo("verify")


def test_a_login_of_netrc(web: Web, repo: Checkout) -> None:
    (repo.root.parent / ".netrc").write_text("machine 127.0.0.1 login me password pass-word\n")
    (repo.root.parent / ".netrc").chmod(0o600)
    repo("run")
    assert {a.headers.get("Authorization") for a in web.asked} == {"Basic bWU6cGFzcy13b3Jk"}


def test_the_hash_that_a_publisher_gives(web: Web, tmp_path: Path) -> None:
    good = hashlib.sha256(ONE.encode()).hexdigest()
    repo = project(tmp_path / "repo", f'url("{web.url}/feed.csv", sha256 = "{good}")')
    repo("run")
    web.put(TWO)
    said = repo("update", code=1)
    assert "is not what `sha256` says" in said and hashlib.sha256(TWO.encode()).hexdigest() in said
    repo("pull")
    assert (repo.root / ".mlpipe/data/feed/feed.csv").read_text() == ONE


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("gopher://127.0.0.1/feed.csv", "an address that says how to get there is wanted"),
        ("http://127.0.0.1:9/feed.csv", "it cannot be reached"),
        ("http:///feed.csv", "names no server"),
    ],
)
def test_urls_that_cannot_be(tmp_path: Path, url: str, says: str) -> None:
    repo = project(tmp_path / "repo", f'url("{url}")')
    done = subprocess.run(
        [*repo.hasty().program, "update"],
        cwd=repo.root,
        env={**repo.env, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert says in done.stderr and "Traceback" not in done.stderr
    assert done.returncode in (1, 2)


def test_the_quick_answer_watches_pins(web: Web, repo: Checkout) -> None:
    repo("run")
    assert "nothing to do" in repo("run")
    assert (repo.root / ".mlpipe/state").exists()
    web.put(TWO)
    repo("update")
    assert "1 ran" in repo("run") and "nothing to do" in repo("run")
    # Somebody takes the pin out.
    path = repo.root / "mlpipe.lock"
    path.write_text("".join(f"{e}\n" for e in path.read_text().splitlines() if not e.startswith("data ")))
    assert "pinned 13 B" in repo("run")


def test_pull_puts_data_in_place(web: Web, repo: Checkout) -> None:
    assert "not pinned yet" in repo("pull", code=1)
    assert "there is no data `fed`" in repo("pull", "fed", code=2)
    repo("update")
    place = repo.root / ".mlpipe/data/feed/feed.csv"
    assert not place.exists()
    web.asked.clear()
    assert f"`{place.relative_to(repo.root)}`, 9 B" in repo("pull") and place.read_text() == ONE
    assert "here already" in repo("pull", "feed") and not web.asked
    # What somebody did to it there is undone.
    place.chmod(0o644)
    place.write_text("spoilt\n")
    repo("pull")
    assert place.read_text() == ONE and not web.asked


def test_what_is_pinned_survives_a_clearing_up(web: Web, repo: Checkout) -> None:
    repo("update")
    web.put(TWO, "/else.csv")
    repo("cache", "gc", "--keep", "0s")
    web.asked.clear()
    repo("pull")
    assert not web.asked


def test_a_remote_cache_keeps_what_the_source_lost(web: Web, tmp_path: Path) -> None:
    cache = f'cache {{ remote = "{tmp_path / "remote"}", write = all }}'
    source = f'url("{web.url}/feed.csv")'
    one = project(tmp_path / "one", source, more=cache)
    assert "2 results pushed" in one("run")
    other = project(tmp_path / "other", source, more=cache)
    (other.root / "mlpipe.lock").write_bytes((one.root / "mlpipe.lock").read_bytes())
    del web.files["/feed.csv"]
    other("pull")
    assert (other.root / ".mlpipe/data/feed/feed.csv").read_text() == ONE
    other.forget()
    assert "1 ran" in other("run", "--force")


def test_several_sources_at_once(web: Web, tmp_path: Path) -> None:
    more = "\n".join(
        f"""data d{n} = url("{web.url}/{n}.csv")
stage s{n} {{
  in  d{n}
  out o = "out/{n}.csv"
  run = "cp {{{{d{n}}}}} {{{{o}}}}"
}}"""
        for n in range(5)
    )
    for n in range(5):
        web.put(f"id,x\n{n},1\n", f"/{n}.csv")
    repo = project(tmp_path / "repo", f'url("{web.url}/feed.csv")', more=more)
    # One that cannot be had does not keep the others from being pinned.
    del web.files["/3.csv"]
    assert "data `d3`" in repo("update", code=1)
    assert [line.split()[1] for line in lock(repo)] == ["d0", "d1", "d2", "d4", "feed"]
    web.put("id,x\n3,1\n", "/3.csv")
    repo("run", "copy")
    assert [line.split()[1] for line in lock(repo)] == ["d0", "d1", "d2", "d4", "feed"]
    repo("run")
    assert (repo.root / "out/3.csv").read_text() == "id,x\n3,1\n"


def test_two_at_the_same_time_fetch_once(web: Web, repo: Checkout) -> None:
    repo("update")
    repo.forget()
    web.asked.clear()
    go_on = threading.Event()
    web.faults.append(slow(4, go_on))
    environment = {**repo.env, "PATH": "/usr/bin:/bin"}
    first = subprocess.Popen([MLPIPEC, "pull"], cwd=repo.root, env=environment, stderr=subprocess.DEVNULL)
    wait_for(lambda: any(a.method == "GET" for a in web.asked))
    second = subprocess.Popen([MLPIPEC, "pull"], cwd=repo.root, env=environment, stderr=subprocess.PIPE)
    assert second.stderr is not None and b"waiting" in second.stderr.readline()
    go_on.set()
    assert (first.wait(60), second.wait(60)) == (0, 0)
    second.stderr.close()
    assert len([a for a in web.asked if a.method == "GET"]) == 1


def test_of_two_pins_the_one_that_is_declared(web: Web, repo: Checkout) -> None:
    def git(*args: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        subprocess.run(["git", *who, *args], cwd=repo.root, check=False, capture_output=True)

    repo("update")
    (repo.root / ".gitignore").write_text("out/\n")
    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-qm", "one")
    git("checkout", "-qb", "side")
    web.put(TWO)
    repo("update")
    git("commit", "-qam", "newer")
    git("checkout", "-q", "main")
    web.put(ONE, "/other.csv")
    path = repo.root / "pipeline.mlpipe"
    path.write_text(path.read_text().replace("/feed.csv", "/other.csv"))
    repo("update")
    pinned = lock(repo)
    git("commit", "-qam", "another source")
    git("checkout", "-q", "side")
    git("merge", "-q", "main")
    assert "<<<<<<<" in (repo.root / "mlpipe.lock").read_text()
    repo("lock", "--resolve")
    assert lock(repo) == pinned


def test_a_sandbox_lets_a_stage_read_its_data(web: Web, repo: Checkout) -> None:
    said = repo("run", "--sandbox", "audit")
    assert rows(repo) == ONE and ".mlpipe/data" not in said


def test_an_action_reads_data(web: Web, tmp_path: Path) -> None:
    more = """
action tell {
  in  feed
  run = "cp {{feed}} told.csv"
}
on manual { run = [tell] }
"""
    repo = project(tmp_path / "repo", f'url("{web.url}/feed.csv")', more=more)
    assert "not pinned yet" in repo("exec", "tell", "--on", "manual", code=1)
    repo("update")
    repo.forget()
    repo("exec", "tell", "--on", "manual")
    assert (repo.root / "told.csv").read_text() == ONE


PAGE = "\n<!DOCTYPE html><html><body>Please log in</body></html>"


def test_a_page_in_place_of_a_table(web: Web, tmp_path: Path) -> None:
    checkout = project(tmp_path / "page", f'url("{web.url}/feed.csv")', type="csv")
    checkout("run")
    before = lock(checkout)
    web.put(PAGE)
    said = checkout("update", code=1)
    assert "is a web page, and `csv` was declared" in said and "login" in said
    assert lock(checkout) == before and rows(checkout) == ONE
    assert not list((checkout.root / ".mlpipe/fetch").rglob("*.csv"))
    assert "nothing to do" in checkout("run")
    other = project(tmp_path / "text", f'url("{web.url}/feed.csv")', type="text")
    other("run")
    assert rows(other) == PAGE


def test_half_an_archive_that_was_sent_whole(web: Web, tmp_path: Path) -> None:
    packed = gzip.compress(ONE.encode() * 1000)
    web.put(packed[: len(packed) // 2], "/feed.csv.gz")
    checkout = project(tmp_path / "half", f'url("{web.url}/feed.csv.gz")', type="csv")
    assert "is compressed, and damaged" in checkout("update", code=1)
    assert not lock(checkout)
    web.put(packed, "/feed.csv.gz")
    assert "1 of 1 updated" in checkout("update")


def test_nothing_that_a_server_says_moves_the_cursor(web: Web, repo: Checkout) -> None:
    def named(asked: Asked, handler: Handler) -> bool:
        handler.answer(200, ONE.encode(), ETag='"\x1b]0;title\x07\x1b[31m"')
        return True

    web.faults.append(named)
    said = repo("run") + repo("update") + repo("status", "--sources")
    assert "␛]0;title␇" in said and "\x1b" not in said
    web.faults.clear()
    web.put("id,x,na\x1b[31mme\n1,2,\x1b[2J\n1,3,4\n")
    said = repo("update", code=1)
    assert "repeats an earlier value" in said and "\x1b" not in said
    web.put("id,na\x1b[31mme\n1,2\n")
    said = repo("update", code=1)
    assert "na␛[31mme" in said and "\x1b" not in said
