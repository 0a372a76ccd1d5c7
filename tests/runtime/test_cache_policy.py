"""What `mlpipec cache policy` prints, enforced by a real server: SeaweedFS judges tokens and requests by it.

The permissions are taken as printed (those for MinIO are the same). Of who may take a role, the names of the
provider and of the token's claims are SeaweedFS's; conditions and values are as printed.
"""

from __future__ import annotations

import json
import re
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from mlflowc.runtime.remotes.transport import RemoteError, Transport, connect
from tests.e2e.conftest import absent
from tests.runtime.test_remote_transports import BIG, use, whole
from tests.support import s3calls, servers
from tests.support.oidc import Issuer
from tests.support.remote_project import Checkout
from tests.support.servers import S3, role

REMOTE = "s3://bucket/acme/ml"
AUDIENCE = "sts.amazonaws.com"
SUBJECTS = {
    "github": {"trusted": "repo:acme/ml:ref:refs/heads/main", "untrusted": "repo:acme/ml:pull_request"},
    "gitlab": {
        "trusted": "project_path:acme/ml:ref_type:branch:ref:main",
        "untrusted": "project_path:acme/ml:ref_type:branch:ref:topic",
    },
}
SWEEPER = "who clears up"
GITHUB = {"CI": "true", "GITHUB_ACTIONS": "true"}
ON_MAIN = {**GITHUB, "GITHUB_EVENT_NAME": "push", "GITHUB_REF": "refs/heads/main"}
ON_PULL = {**GITHUB, "GITHUB_EVENT_NAME": "pull_request", "GITHUB_REF": "refs/pull/1/merge"}


def blocks(text: str) -> dict[str, Any]:
    """The JSON documents of a printed policy, by the line of words above each."""
    found: dict[str, Any] = {}
    above = ""
    for part in re.split(r"\n(?=\{)|(?<=\n\})\n", text):
        if part.startswith("{"):
            found[above] = json.loads(part)
        elif part.strip():
            last = part.strip().split("\n\n")[-1]
            above = " ".join(line.lstrip("# ") for line in last.splitlines())
    return found


def printed(*args: str) -> dict[str, Any]:
    """The documents of `mlpipec cache policy`, run in an empty project."""
    with tempfile.TemporaryDirectory() as folder:
        checkout = Checkout(Path(folder) / "p").make()
        return blocks(checkout("cache", "policy", *args, "--remote", REMOTE, "--repository", "acme/ml"))


def configured(issuer: str) -> dict[str, Any]:
    """SeaweedFS's roles, as printed for AWS. The sweeper's is for nobody, as printed: here, for one."""
    made = servers.roles(issuer, {}, AUDIENCE)
    made["policies"] = []
    for service, claims in (("github", "token.actions.githubusercontent.com"), ("gitlab", "gitlab.com")):
        found = printed("aws", "--service", service)
        rules = {name.partition(":")[0]: d for name, d in found.items() if name.endswith("permissions")}
        trust = {name.partition(":")[0]: d for name, d in found.items() if "who may take" in name}
        assert set(rules) == {"trusted", "untrusted", "sweeper"} and set(trust) == {"trusted", "untrusted"}
        made["policies"] += [{"name": f"{service}-{name}", "document": d} for name, d in rules.items()]
        for name, document in trust.items():
            (statement,) = document["Statement"]
            assert statement["Principal"]["Federated"].endswith(f":oidc-provider/{claims}")
            statement |= {"Principal": {"Federated": "ci"}, "Action": [statement["Action"]]}
            text = json.dumps(document)
            assert f"{claims}:aud" in text
            trust[name] = json.loads(text.replace(f"{claims}:", "oidc:"))
        trust["sweeper"] = json.loads(
            json.dumps(trust["trusted"]).replace(SUBJECTS[service]["trusted"], SWEEPER)
        )
        made["roles"] += [
            {
                "roleName": f"{service}-{name}",
                "roleArn": role(f"{service}-{name}"),
                "trustPolicy": document,
                "attachedPolicies": [f"{service}-{name}"],
            }
            for name, document in trust.items()
        ]
    return made


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Iterator[S3]:
    """A server with the printed rules."""
    if servers.weed() is None:
        absent("SeaweedFS is not installed: run `make tools`")
    with servers.s3_server(tmp_path_factory.mktemp("s3"), configured(issuer.url)) as server:
        yield server


def taken(s3: S3, issuer: Issuer, name: str, subject: str, audience: str = AUDIENCE) -> dict[str, str] | None:
    """The role's credentials for a job whose token says so; None when the server refuses."""
    asked = {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": role(name),
        "RoleSessionName": "job",
        "WebIdentityToken": issuer.token(audience, subject=subject),
    }
    try:
        with urllib.request.urlopen(s3.endpoint, urlencode(asked).encode(), timeout=30) as answer:
            text = answer.read().decode()
    except urllib.error.HTTPError as e:
        assert e.code in (400, 403), e.read()
        return None
    found = dict(re.findall(r"<(AccessKeyId|SecretAccessKey|SessionToken)>([^<]+)<", text))
    return {
        **s3.env(),
        "AWS_ACCESS_KEY_ID": found["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": found["SecretAccessKey"],
        "AWS_SESSION_TOKEN": found["SessionToken"],
    }


def credentials(s3: S3, issuer: Issuer, name: str) -> dict[str, str]:
    """Those of a role for whom it is meant, at GitHub."""
    found = taken(s3, issuer, f"github-{name}", SUBJECTS["github"].get(name, SWEEPER))
    assert found is not None
    return found


def remote(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, env: dict[str, str]) -> Transport:
    """The remote, for somebody with these credentials."""
    use(monkeypatch, env)
    return connect(REMOTE, tmp_path, {})


def refused(ask: Callable[[], object]) -> None:
    """The server refuses that, and we know it for a refusal."""
    with pytest.raises(RemoteError, match="it refuses these credentials"):
        ask()


@pytest.mark.parametrize("service", list(SUBJECTS))
def test_who_may_take_which_role(s3: S3, issuer: Issuer, service: str) -> None:
    main, pull = SUBJECTS[service]["trusted"], SUBJECTS[service]["untrusted"]
    assert taken(s3, issuer, f"{service}-trusted", main)
    assert taken(s3, issuer, f"{service}-untrusted", pull)
    for strange in (
        pull,
        main + "x",
        main.replace("acme/ml", "evil/ml"),
        main.replace("acme/ml", "acme/ml2"),
    ):
        assert taken(s3, issuer, f"{service}-trusted", strange) is None
    assert taken(s3, issuer, f"{service}-untrusted", pull.replace("acme/ml", "evil/ml")) is None
    assert taken(s3, issuer, f"{service}-trusted", main, "https://elsewhere.example") is None
    assert taken(s3, issuer, f"{service}-sweeper", main) is None


def test_a_pull_request_can_write_its_own_alone(
    s3: S3, issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, other = f"v1/trusted/records/aa/{'b' * 62}", "v1/trusted/records/aa/none"
    main = remote(monkeypatch, tmp_path, credentials(s3, issuer, "trusted"))
    assert main.write(record, b"main's", fresh=True)
    assert main.write("v1/trusted/objects/aa/large", BIG)
    refused(lambda: main.write("v1/untrusted/pr-1/records/aa/b", b"x"))
    refused(lambda: main.remove(record))
    assert main.size(other) is None, "what is not there is a miss, and no refusal"

    pull = remote(monkeypatch, tmp_path, credentials(s3, issuer, "untrusted"))
    refused(lambda: pull.write(record, b"forged"))
    refused(lambda: pull.write(other, b"forged", fresh=True))
    refused(lambda: pull.write("v1/trusted/objects/aa/large", BIG))
    refused(lambda: pull.write("v1/trusted/condemned/aa", b"all"))
    refused(lambda: pull.write("v2/anything", b"x"))
    refused(lambda: pull.write("v1/untrustedX/pr-1/x", b"x"))
    refused(lambda: pull.remove(record))
    assert (whole(pull, record), pull.size(other)) == (b"main's", None)
    assert pull.write("v1/untrusted/pr-1/records/aa/b", b"its own", fresh=True)
    assert pull.write("v1/untrusted/pr-1/objects/aa/large", BIG), "in parts, too"
    # Of the bucket's other folders it cannot read, either.
    assert s3calls.call(s3, "PUT", "/bucket/acme/secret", body=b"x").status == 200
    refused(lambda: connect("s3://bucket/acme", tmp_path, {}).size("secret"))

    main = remote(monkeypatch, tmp_path, credentials(s3, issuer, "trusted"))
    refused(lambda: whole(main, "v1/untrusted/pr-1/records/aa/b"))
    assert whole(main, record) == b"main's"


def test_jobs_and_clearing_up(s3: S3, issuer: Issuer, tmp_path: Path) -> None:
    """All that jobs do, the rules allow; what only a sweeper does, they do not."""
    block = f'cache {{ remote = "{REMOTE}" }}'

    def job(name: str, who: str, env: dict[str, str], raw: str = "a\nb\n") -> Checkout:
        made = Checkout(tmp_path / name / "p", {**credentials(s3, issuer, who), **env}).make(block, raw)
        text = made("run")
        assert "warning" not in text, text
        return made

    main = job("main", "trusted", ON_MAIN)
    assert main.ran == ["load", "split", "score"]
    assert job("pull", "untrusted", ON_PULL).ran == []
    pull = job("change", "untrusted", ON_PULL, "c\n")
    assert pull.ran == ["load", "split", "score"]

    # One that says it is the branch's, with the credentials of a pull request.
    liar = Checkout(tmp_path / "liar" / "p", {**pull.env, **ON_MAIN}).make(block, "d\n")
    said = liar("run")
    assert "it refuses these credentials" in said and liar.ran == ["load", "split", "score"]
    assert job("late", "trusted", ON_MAIN, "d\n").ran == ["load", "split", "score"]

    sweep = ("cache", "gc", "--in-remote", "--grace", "0s", "--max-size", "0MiB")
    said = main(*sweep, code=1)
    assert "it refuses these credentials" in said
    assert "`mlpipec cache policy` prints a sweeper's rules" in said
    main("cache", "stat")
    (pull.root / "mlpipe.lock").unlink()
    pull.env |= credentials(s3, issuer, "sweeper")
    assert "untrusted/pr-1: 3 results and" in pull(*sweep)


def test_minio_gets_the_same_rules_in_words_that_it_knows() -> None:
    def rules(cloud: str) -> dict[str, Any]:
        return {n.partition(":")[0]: d for n, d in printed(cloud).items() if "permissions" in n}

    found = rules("minio")
    assert found == rules("aws") and len(found) == 3
    # A document with an operator that MinIO does not know, such as `StringLikeIfExists`, is refused whole.
    assert not any("Condition" in s for d in found.values() for s in d["Statement"])
