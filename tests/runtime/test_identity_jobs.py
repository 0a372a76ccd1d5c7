"""Jobs with `auth aws`: a real S3 server gives credentials for tokens of an issuer, and judges both."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlflowc.runtime.sandbox import landlock, trace
from tests.support import oidc, servers
from tests.support.oidc import Issuer
from tests.support.remote_project import Checkout
from tests.support.servers import S3, role

MAIN, PULL = "repo:acme/churn:ref:refs/heads/main", "repo:acme/churn:pull_request"
PUSH = {"GITHUB_ACTIONS": "true", "GITHUB_REF": "refs/heads/main", "GITHUB_EVENT_NAME": "push"}

PIPELINE = """\
mlpipe 1
pipeline churn
auth aws { role = "<role>", region = "us-east-1", sts = "ENDPOINT"MORE }
cache { remote = "s3://bucket/<place>", endpoint = "ENDPOINT" }
stage made {
  out text = "made.txt"
  run = \"\"\"
  env | cut -d= -f1 | sort > ../seen-plain.txt
  echo hello > {{text}}
  \"\"\"
}
stage used {
  in   made.text
  out  big = "used.txt"
  auth = [aws]
  run  = \"\"\"
  env | grep ^AWS_ | sort > ../seen-auth.txt
  stat -c '%a' "$AWS_WEB_IDENTITY_TOKEN_FILE" "$(dirname "$AWS_WEB_IDENTITY_TOKEN_FILE")" > ../modes.txt
  echo "the token is $(cat "$AWS_WEB_IDENTITY_TOKEN_FILE")"
  cat "$AWS_WEB_IDENTITY_TOKEN_FILE" > ../token.txt
  cat {{text}} > {{big}}
  \"\"\"
}
action tell {
  in   used.big
  auth = [aws]
  run  = "test -s {{big}} && test -s $AWS_WEB_IDENTITY_TOKEN_FILE && echo told as $AWS_ROLE_ARN"
}
on push("main") { run = [tell] }
on pull_request { run = [made] }
"""


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Iterator[S3]:
    if servers.weed() is None:
        pytest.skip("SeaweedFS is not installed: run `make tools`")
    known = servers.roles(issuer.url, {"ci": MAIN, "pulls": PULL})
    with servers.s3_server(tmp_path_factory.mktemp("s3"), known) as server:
        yield server


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, issuer: Issuer) -> None:
    """No credentials of this machine's; the tokens are those of the main branch."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "GITHUB_", "CI_", "GITLAB_")) or name in ("CI", "RUNNER_TEMP"):
            monkeypatch.delenv(name)
    (tmp_path / "tmp").mkdir()
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    issuer.subject, issuer.lifetime = MAIN, 300.0
    issuer.given.clear()


def project(folder: Path, s3: S3, more: str = "", place: str = "shared") -> Checkout:
    """A checkout; those of one test and one place have one remote."""
    text = PIPELINE.replace("ENDPOINT", s3.endpoint).replace("<role>", role("ci")).replace("MORE", more)
    text = text.replace("<place>", f"{folder.parent.name}/{place}")
    folder.mkdir(parents=True)
    (folder / "pipeline.mlpipe").write_text(text)
    return Checkout(folder, {"HOME": str(folder.parent / "home")})


@pytest.mark.usefixtures("clean")
def test_jobs_share_by_tokens_alone(tmp_path: Path, s3: S3, issuer: Issuer) -> None:
    here = project(tmp_path / "one", s3)
    # What is left of other times counts for nothing.
    left = {"AWS_ACCESS_KEY_ID": "left", "AWS_SECRET_ACCESS_KEY": "over", "AWS_PROFILE": "nobody"}
    here.env |= PUSH | issuer.github() | left
    said = here("exec", "plan", "--on", "push-main")
    assert "::add-mask::" in said, "the service hides it"
    here("exec", "made", "--on", "push-main")
    said = here("exec", "used", "--on", "push-main")
    assert "pushed to s3://bucket/" in said

    # Where the command declares it, every SDK finds who it is; and no log shows the token.
    token = (tmp_path / "token.txt").read_text()
    assert oidc.claims(token)["aud"] == "sts.amazonaws.com"
    shown = "\n".join(line for line in said.splitlines() if not line.startswith("::add-mask::"))
    assert "the token is ***" in shown
    assert token not in shown
    seen = dict(line.split("=", 1) for line in (tmp_path / "seen-auth.txt").read_text().splitlines())
    assert seen.pop("AWS_WEB_IDENTITY_TOKEN_FILE").startswith(str(tmp_path / "tmp"))
    assert seen == {
        "AWS_ROLE_ARN": role("ci"),
        "AWS_ROLE_SESSION_NAME": "mlpipec-churn-used",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_STS": s3.endpoint,
    }
    assert (tmp_path / "modes.txt").read_text().split() == ["600", "700"]
    plain = (tmp_path / "seen-plain.txt").read_text().split()
    assert [n for n in plain if n.startswith(("AWS_", "ACTIONS_"))] == []

    assert f"told as {role('ci')}" in here("exec", "tell", "--on", "push-main")
    assert list((tmp_path / "tmp").iterdir()) == [], "at the end of a job its tokens are gone"
    kept = [p for p in here.root.rglob("*") if p.is_file() and token.encode() in p.read_bytes()]
    assert kept == []

    # Another machine takes everything from there, and runs nothing.
    there = project(tmp_path / "two", s3)
    there.env |= PUSH | issuer.github()
    (tmp_path / "seen-plain.txt").unlink()
    there("exec", "made", "--on", "push-main")
    assert not (tmp_path / "seen-plain.txt").exists()


@pytest.mark.usefixtures("clean")
def test_gitlab_and_bitbucket_have_the_token_ready(tmp_path: Path, s3: S3, issuer: Issuer) -> None:
    gitlab = {"GITLAB_CI": "true", "CI_COMMIT_REF_NAME": "main", "CI_COMMIT_REF_PROTECTED": "true"}
    token = issuer.token("sts.amazonaws.com")
    for name, env in (
        ("gitlab", {**gitlab, "MLPIPE_OIDC_AWS": token}),
        (
            "bitbucket",
            {
                "BITBUCKET_BUILD_NUMBER": "3",
                "BITBUCKET_BRANCH": "main",
                "BITBUCKET_STEP_OIDC_TOKEN": token,
            },
        ),
    ):
        here = project(tmp_path / name, s3, place=name)
        here.env |= env
        here("exec", "plan", "--on", "push-main")
        assert "pushed to s3://bucket/" in here("exec", "made", "--on", "push-main")
        here("exec", "used", "--on", "push-main")
        assert (tmp_path / "token.txt").read_text() == token
        plain = (tmp_path / "seen-plain.txt").read_text().split()
        assert [n for n in plain if "OIDC" in n] == []


@pytest.mark.usefixtures("clean")
def test_pull_requests_come_as_somebody_else(tmp_path: Path, s3: S3, issuer: Issuer) -> None:
    def pull(name: str, head: str, more: str) -> str:
        payload = {"pull_request": {"head": {"repo": {"full_name": head}}}}
        (tmp_path / f"{name}.json").write_text(json.dumps(payload))
        here = project(tmp_path / name, s3, more, name)
        here.env |= issuer.github() | {
            "GITHUB_ACTIONS": "true",
            "GITHUB_EVENT_NAME": "pull_request",
            "GITHUB_REF": "refs/pull/7/merge",
            "GITHUB_REPOSITORY": "acme/churn",
            "GITHUB_EVENT_PATH": str(tmp_path / f"{name}.json"),
        }
        here("exec", "plan", "--on", "pull-request")
        return here("exec", "made", "--on", "pull-request")

    issuer.subject = PULL
    said = pull("nobody", "acme/churn", "")
    assert "jobs of pull requests come to aws as nobody: see `pull_request` of `auth aws`" in said
    assert issuer.given == []
    role_of_pulls = f', pull_request = "{role("pulls")}"'
    assert "pushed to s3://bucket/" in pull("somebody", "acme/churn", role_of_pulls)
    asked = len(issuer.given)
    assert asked > 0
    # A fork's job is given nothing, even if the service hands out tokens to it.
    said = pull("fork", "somebody/churn", role_of_pulls)
    assert "this job was given no token for `auth aws`" in said
    assert len(issuer.given) == asked
    # The role of the branch is not theirs: the server itself refuses, and the run goes on without it.
    said = pull("greedy", "acme/churn", ", pull_request = true")
    assert f"AWS does not give this job the role `{role('ci')}`: AccessDenied" in said
    assert PULL in said, "it says who asked"
    assert "going on without it" in said


@pytest.mark.usefixtures("clean")
def test_a_job_without_a_token(tmp_path: Path, s3: S3) -> None:
    here = project(tmp_path / "one", s3)
    here.env |= PUSH
    said = here("exec", "plan", "--on", "push-main")
    assert "note: the remote is left alone: this job was given no token for `auth aws`" in said
    here("exec", "made", "--on", "push-main")
    said = here("exec", "used", "--on", "push-main", code=1)
    assert "stage `used` needs credentials of AWS, and this job was given no token" in said


@pytest.mark.usefixtures("clean")
def test_tokens_are_made_new_while_a_command_runs(tmp_path: Path, s3: S3, issuer: Issuer) -> None:
    here = project(tmp_path / "one", s3)
    text = (here.root / "pipeline.mlpipe").read_text()
    waits = """first=$(cat "$AWS_WEB_IDENTITY_TOKEN_FILE")
  until [ "$first" != "$(cat "$AWS_WEB_IDENTITY_TOKEN_FILE")" ]; do sleep 0.1; done
  echo now $(cat "$AWS_WEB_IDENTITY_TOKEN_FILE")"""
    text = text.replace("  cat {{text}} > {{big}}", f"  {waits}\n  cat {{{{text}}}} > {{{{big}}}}")
    (here.root / "pipeline.mlpipe").write_text(text)
    here.env |= PUSH | issuer.github()
    issuer.lifetime = 4.0
    here("exec", "made", "--on", "push-main")
    said = here("exec", "used", "--on", "push-main")
    assert "now ***" in said, "the new one is hidden, too"
    assert len(set(issuer.given)) >= 2


@pytest.mark.usefixtures("clean")
def test_on_a_persons_machine_their_own_count(tmp_path: Path, s3: S3, issuer: Issuer) -> None:
    here = project(tmp_path / "one", s3)
    here.env |= s3.env()
    said = here("run", "used", code=1)
    assert "AWS_WEB_IDENTITY_TOKEN_FILE: unbound variable" in said
    seen = (tmp_path / "seen-auth.txt").read_text()
    assert f"AWS_SECRET_ACCESS_KEY={servers.SECRET}" in seen, "the command finds them"
    assert issuer.given == []


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize(
    "mode",
    [
        pytest.param("audit", marks=pytest.mark.skipif(bool(trace.missing()), reason="no strace that works")),
        pytest.param("enforce", marks=pytest.mark.skipif(not landlock.abi(), reason="no Landlock")),
    ],
)
def test_the_sandbox_lets_tokens_through(tmp_path: Path, s3: S3, issuer: Issuer, mode: str) -> None:
    here = project(tmp_path / "one", s3)
    text = (here.root / "pipeline.mlpipe").read_text()
    kept = [line for line in text.splitlines() if " > ../" not in line]
    (here.root / "pipeline.mlpipe").write_text("\n".join(kept) + "\n")
    here.env |= PUSH | issuer.github()
    here("exec", "made", "--on", "push-main")
    said = here("exec", "used", "--on", "push-main", "--sandbox", mode)
    assert "the token is ***" in said
    assert ".token" not in said, "nothing is found to read what it did not declare"
