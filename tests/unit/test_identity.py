"""Who gets credentials, as whom, and what providers say to that: the parts of `auth`."""

from __future__ import annotations

import http.server
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import obstore
import pytest

from mlflowc.compile import compile_text
from mlflowc.errors import Failure
from mlflowc.ir import identity
from mlflowc.ir.identity import Identity
from mlflowc.ir.model import Pipeline
from mlflowc.jobs.lower import lower_all
from mlflowc.runtime.identity import current, exchange, steps, tokens
from mlflowc.runtime.identity.held import Held
from mlflowc.runtime.identity.tokens import Offer
from mlflowc.runtime.remotes import cloud
from mlflowc.runtime.remotes.transport import RemoteError
from tests.support.loader import MemoryLoader
from tests.support.oidc import Issuer, issuer

POOL = "projects/12/locations/global/workloadIdentityPools/ci-pool/providers/github"
ACCOUNT = "ci-jobs@acme-ml.iam.gserviceaccount.com"
AWS = 'auth aws { role = "arn:aws:iam::123456789012:role/ci" }'


@pytest.fixture(scope="module")
def service() -> Iterator[Issuer]:
    with issuer() as made:
        yield made


class Web:
    """A server that answers as it is told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {}
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        self.url = ""


@pytest.fixture
def web() -> Iterator[Web]:
    made = Web()

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            made.asked.append((self.path, dict(self.headers), body))
            status, said = made.answers.get(self.path.partition("?")[0], (404, {}))
            data = said.encode() if isinstance(said, str) else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
            self.send_header("ETag", '"1"')
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST  # noqa: N815 - as the server calls it

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()


def compiled(text: str) -> Pipeline:
    """The pipeline of `text` after its header; nothing may be wrong with it."""
    found = compile_text("p.mlpipe", f"mlpipe 1\npipeline p\n{text}", MemoryLoader({}))
    assert found.pipeline is not None, [d.message for d in found.diagnostics]
    return found.pipeline


# --- which jobs


def jobs(text: str) -> dict[str, dict[str, tuple[str, ...]]]:
    """The providers of each job, by event."""
    return {w.id: {j.id: j.auths for j in w.jobs} for w in lower_all(compiled(text))}


STAGES = """
stage a { out x: csv = "x.csv"
  run = "touch {{x}}" }
stage b { in a.x
  out y: csv = "y.csv"
  AUTH
  run = "cp {{x}} {{y}}" }
action tell { in b.y
  run = "cat {{y}}" }
on pull_request { run = [b] }
on push("main") { run = [tell] }
"""


def test_a_remote_concerns_every_job_but_those_of_pull_requests() -> None:
    text = AWS + '\ncache { remote = "s3://b/x" }' + STAGES.replace("AUTH", "")
    found = jobs(text)
    assert found["push-main"] == {"plan": ("aws",), "b": ("aws",), "tell": ("aws",)}
    assert found["pull-request"] == {"plan": (), "b": ()}
    opened = jobs(text.replace('role/ci" }', 'role/ci", pull_request = true }'))
    assert opened["pull-request"] == {"plan": ("aws",), "b": ("aws",)}


@pytest.mark.parametrize(
    "cache",
    [
        'remote = "s3://b", secrets = [AWS_ACCESS_KEY_ID]',
        'remote = "s3://b", access_key_id = "x"',
        'remote = "gs://b"',
        'remote = "../here"',
    ],
)
def test_a_remote_with_other_credentials_takes_none(cache: str) -> None:
    found = jobs(f"{AWS}\ncache {{ {cache} }}" + STAGES.replace("AUTH", ""))
    assert set(found["push-main"].values()) == {()}


def test_the_key_that_signs_is_no_credential() -> None:
    text = AWS + '\ncache { remote = "s3://b", secrets = [MLPIPEC_SIGNING_KEY] }' + STAGES.replace("AUTH", "")
    assert set(jobs(text)["push-main"].values()) == {("aws",)}


def test_a_stage_with_credentials_is_a_job_of_its_own_that_no_fork_starts() -> None:
    flow = compiled(AWS + STAGES.replace("AUTH", "auth = [aws]"))
    pull = next(w for w in lower_all(flow) if w.id == "pull-request")
    assert {j.id: (j.auths, j.trusted, j.skippable) for j in pull.jobs} == {
        "plan": ((), False, False),
        "a": ((), False, False),
        "b": (("aws",), True, True),
    }
    assert flow.stages[1].auth == ("aws",)


def test_data_is_fetched_by_the_jobs_that_read_it() -> None:
    text = f"""
auth gcp {{ provider = "{POOL}" }}
data feed: csv = url("gs://feeds/a.csv")
data other: csv = url("gs://feeds/b.csv", anonymous = true)
data kept: csv = dvc("k.csv.dvc", rev = "v1", auth = gcp)
stage a {{ in feed
  out x: csv = "x.csv"
  run = "cat {{{{feed}}}} > {{{{x}}}}" }}
stage b {{ in other
  out y: csv = "y.csv"
  run = "cat {{{{other}}}} > {{{{y}}}}" }}
stage c {{ in kept
  out z: csv = "z.csv"
  run = "cat {{{{kept}}}} > {{{{z}}}}" }}
on push("main") {{ run = [a, b, c] }}
on schedule("17 3 * * *") {{ refresh = [feed], run = [b] }}
"""
    found = jobs(text)
    assert found["push-main"] == {"plan": (), "a": ("gcp",), "b": (), "c": ("gcp",)}
    assert found["schedule-1"] == {"plan": ("gcp",), "b": ()}


def test_what_takes_trials_together_has_no_credentials() -> None:
    found = jobs(
        AWS
        + """
param lr = 0.1
runner own { github = ["self-hosted"] }
stage a { out m: metrics { x: float } = "m.json"
  param lr
  runner = own
  auth = [aws]
  run = "train {{params.lr}} > {{m}}" }
sweep tune over a {
  vary lr in [0.1, 0.2]
  search = grid
  parallel = 2
  goal = maximize(m.x)
}
on push("main") { run = [tune] }
"""
    )["push-main"]
    assert {id: auths for id, auths in found.items() if auths} == {"tune-1": ("aws",), "tune-2": ("aws",)}
    assert len(found) == 4


def test_as_whom_jobs_come() -> None:
    flow = compiled(
        f"""
auth aws {{ role = "arn:aws:iam::123456789012:role/ci", pull_request = "arn:aws:iam::123456789012:role/pr" }}
auth gcp {{ provider = "{POOL}", service_account = "{ACCOUNT}", pull_request = true }}
stage a {{
  auth = [aws, gcp]
  out x = "x.csv"
  run = "touch {{{{x}}}}" }}
"""
    )
    aws, gcp = flow.auths
    assert identity.identity(aws, "push").options["role"].endswith("role/ci")
    assert identity.identity(aws, "pull_request").options["role"].endswith("role/pr")
    assert identity.identity(aws, "push").audience == "sts.amazonaws.com"
    assert identity.identity(gcp, "pull_request").options == {"provider": POOL, "service_account": ACCOUNT}
    assert identity.identity(gcp, "push").audience == f"https://iam.googleapis.com/{POOL}"


# --- what providers say


def held(provider: str, token: str, /, **options: str) -> Held:
    """A job that comes with `token`."""
    at = Identity(provider, options, "somebody")
    return Held({provider: at}, {provider: Offer("GitLab", lambda audience: token)}, "mlpipec p/a b")


def test_google_gives_a_service_accounts_token(
    web: Web, service: Issuer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(exchange, "GOOGLE_STS", f"{web.url}/v1/token")
    monkeypatch.setattr(exchange, "GOOGLE_IAM", f"{web.url}/iam")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "nobody.json"))
    (tmp_path / "nobody.json").write_text('{"type": "external_account"}')
    place = f"/iam/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken"
    web.answers = {
        "/v1/token": (200, {"access_token": "first", "expires_in": 3600}),
        place: (200, {"accessToken": "second", "expireTime": "2126-01-01T00:00:00Z"}),
        "/bucket/x": (200, "content"),
    }
    token = service.token("x")
    with current.using(held("gcp", token, provider=POOL, service_account=ACCOUNT)) as made:
        remote = cloud.connect("gs://bucket", tmp_path, {"base_url": web.url})
        assert bytes(obstore.get(remote.client, "x").bytes()) == b"content"
        variables = made.variables("gcp")
        said = json.loads(Path(variables["GOOGLE_APPLICATION_CREDENTIALS"]).read_text())
        assert Path(said["credential_source"]["file"]).read_text() == token
        folder = made.folder
    assert not folder.exists()
    wanted = json.loads(web.asked[0][2])
    assert (wanted["audience"], wanted["subjectToken"]) == (f"//iam.googleapis.com/{POOL}", token)
    assert web.asked[1][1]["Authorization"] == "Bearer first"
    assert {k.lower(): v for k, v in web.asked[2][1].items()}["authorization"] == "Bearer second"
    assert said["type"] == "external_account"
    assert said["service_account_impersonation_url"].endswith(f"{ACCOUNT}:generateAccessToken")


@pytest.mark.parametrize("kind", ["file", "url", "aws"])
def test_a_persons_external_account(
    web: Web, service: Issuer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    token = service.token("x")
    source: dict[str, object] = {"environment_id": "aws1"}
    if kind == "file":
        (tmp_path / "token").write_text(token + "\n")
        source = {"file": str(tmp_path / "token")}
    elif kind == "url":
        form = {"type": "json", "subject_token_field_name": "value"}
        source = {"url": f"{web.url}/given", "headers": {"Authorization": "Bearer x"}, "format": form}
    said = {
        "type": "external_account",
        "audience": f"//iam.googleapis.com/{POOL}",
        "token_url": f"{web.url}/v1/token",
        "credential_source": source,
    }
    (tmp_path / "account.json").write_text(json.dumps(said))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "account.json"))
    web.answers = {
        "/given": (200, {"value": token}),
        "/v1/token": (200, {"access_token": "theirs", "expires_in": 3600}),
        "/bucket/x": (200, "content"),
    }
    remote = cloud.connect("gs://bucket", tmp_path, {"base_url": web.url})
    if kind == "aws":
        with pytest.raises(RemoteError, match="takes its token from `environment_id`, which is not read"):
            remote.size("x")
        return
    assert bytes(obstore.get(remote.client, "x").bytes()) == b"content"
    asked = {path: (headers, body) for path, headers, body in web.asked}
    assert json.loads(asked["/v1/token"][1])["subjectToken"] == token
    assert asked["/bucket/x"][0]["authorization"] == "Bearer theirs"


def test_azure_gives_a_token_for_storage(web: Web, service: Issuer, tmp_path: Path) -> None:
    ids = {"client_id": "1b4e28ba-2fa1-11d2-883f-0016d3cca427", "tenant_id": "acme"}
    web.answers = {
        "/acme/oauth2/v2.0/token": (200, {"access_token": "theirs", "expires_in": 3600}),
        "/acmeml/box/x": (200, "content"),
    }
    token = service.token("api://AzureADTokenExchange")
    with current.using(held("azure", token, authority=web.url, **ids)) as made:
        options = {"account_name": "acmeml", "endpoint": f"{web.url}/acmeml"}
        remote = cloud.connect("az://box", tmp_path, options)
        assert bytes(obstore.get(remote.client, "x").bytes()) == b"content"
        found = made.variables("azure")
        assert Path(found.pop("AZURE_FEDERATED_TOKEN_FILE")).read_text() == token
    form = {k: v[0] for k, v in parse_qs(web.asked[0][2].decode()).items()}
    assert (form["client_assertion"], form["client_id"]) == (token, ids["client_id"])
    assert {k.lower(): v for k, v in web.asked[1][1].items()}["authorization"] == "Bearer theirs"
    assert found == {
        "AZURE_CLIENT_ID": ids["client_id"],
        "AZURE_TENANT_ID": "acme",
        "AZURE_AUTHORITY_HOST": web.url,
    }


@pytest.mark.parametrize(
    ("provider", "options", "answer", "words"),
    [
        (
            "aws",
            {"role": "arn:aws:iam::1:role/x", "sts": "WEB/sts"},
            "<E><Error><Code>AccessDenied</Code><Message>Not authorized</Message></Error></E>",
            "AWS does not give this job the role `arn:aws:iam::1:role/x`: AccessDenied: Not authorized",
        ),
        (
            "gcp",
            {"provider": POOL},
            {"error": "invalid_grant", "error_description": "The audience is wrong."},
            f"Google Cloud's `{POOL}` does not take this job's token: The audience is wrong.",
        ),
        (
            "azure",
            {"client_id": "id", "tenant_id": "acme", "authority": "WEB"},
            {"error_description": "AADSTS70021: No matching record\r\nTrace: 1"},
            "Azure does not let this job in as `id`: AADSTS70021: No matching record",
        ),
    ],
    ids=["aws", "gcp", "azure"],
)
def test_a_refusal_says_who_asked(
    web: Web,
    service: Issuer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    provider: str,
    options: dict[str, str],
    answer: Any,
    words: str,
) -> None:
    monkeypatch.setattr(exchange, "GOOGLE_STS", f"{web.url}/v1/token")
    web.answers = dict.fromkeys(("/sts", "/v1/token", "/acme/oauth2/v2.0/token"), (403, answer))
    token = service.token("acme", subject="repo:a/b:pull_request")
    given = {k: v.replace("WEB", web.url) for k, v in options.items()}
    scheme, more = {"aws": ("s3", {"region": "eu-west-1"}), "gcp": ("gs", {}), "azure": ("az", {})}[provider]
    extra = {"account_name": "acmeml"} if provider == "azure" else more
    with current.using(held(provider, token, **given)):
        remote = cloud.connect(f"{scheme}://bucket", tmp_path, extra)
        with pytest.raises(RemoteError) as found:
            remote.size("x")
    assert found.value.message == f"cannot read the remote `{scheme}://bucket`: {words}"
    assert re.search(r"audience acme\n\s+subject\s+repo:a/b:pull_request", found.value.help)
    assert token not in found.value.message + found.value.help


# --- who hands out tokens


def test_tokens_of_each_service(service: Issuer) -> None:
    offer = tokens.offer(service.github(), "aws")
    assert offer is not None
    assert tokens.claims(offer.ask("acme"))["aud"] == "acme"
    wrong = tokens.offer({**service.github(), "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "no"}, "aws")
    assert wrong is not None
    with pytest.raises(Failure, match="GitHub gave no token \\(status 401\\)") as found:
        wrong.ask("acme")
    assert "id-token: write" in found.value.help
    gitlab = tokens.offer({"MLPIPE_OIDC_GCP": "a.b.c"}, "gcp")
    assert gitlab is not None and (gitlab.ask("x"), gitlab.again) == ("a.b.c", False)
    assert tokens.offer({"MLPIPE_OIDC_GCP": "a.b.c"}, "aws") is None
    bitbucket = tokens.offer({"BITBUCKET_STEP_OIDC_TOKEN": "d.e.f"}, "aws")
    assert bitbucket is not None and bitbucket.ask("x") == "d.e.f"
    fork = {"CI_PROJECT_ID": "1", "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "2", "MLPIPE_OIDC_GCP": "a.b.c"}
    assert tokens.offer(fork, "gcp") is None
    assert tokens.offer({**fork, "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "1"}, "gcp") is not None


def test_what_tokens_are_got_with_is_not_inherited(service: Issuer) -> None:
    env = {**service.github(), "MLPIPE_OIDC_AWS": "a", "BITBUCKET_STEP_OIDC_TOKEN": "b", "PATH": "/bin"}
    before = tokens.take_away(env)
    assert env == {"PATH": "/bin"}
    assert before["MLPIPE_OIDC_AWS"] == "a"


# --- a person's own


def test_a_persons_own_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "_VENDOR", tmp_path / "vendor")
    host = {"HOME": str(tmp_path), "AWS_REGION": "eu-west-1", "OTHER": "x"}
    with pytest.raises(Failure, match="stage `a` needs credentials of AWS, and there are none here") as found:
        steps.variables("stage `a`", ("aws",), None, host)
    assert "aws sso login" in found.value.help
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/config").write_text("[default]\n")
    assert steps.variables("stage `a`", ("aws",), None, host) == {"AWS_REGION": "eu-west-1"}
    for provider, word in (("gcp", "gcloud auth application-default login"), ("azure", "az login")):
        with pytest.raises(Failure) as found:
            steps.variables("stage `a`", (provider,), None, host)
        assert word in found.value.help
    # A machine of the provider's has credentials that its SDK asks for.
    (tmp_path / "vendor").write_text("Microsoft Corporation\n")
    assert steps.variables("stage `a`", ("azure",), None, host) == {}
