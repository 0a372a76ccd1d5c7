"""Rules for the remote's own access control, so that the namespaces do not depend on good will."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from mlflowc.errors import Failure
from mlflowc.frozen import dataclass
from mlflowc.ir import identity
from mlflowc.ir.model import Auth
from mlflowc.runtime import gitcalls
from mlflowc.runtime.gitcalls import GitError
from mlflowc.runtime.remotes.names import VERSION

_ORIGIN = re.compile(r"(?:[a-z+]+://(?:[^@/]+@)?[^/]+/|[^@/]+@[^:]+:)(.+?)(?:\.git)?/?")


@dataclass(frozen=True, slots=True)
class Service:
    """A CI service as providers see it: who signs its tokens; subjects of jobs of the protected branch, and
    of pull requests; conditions of Google's for jobs of the repository, and for those of that branch. `NAME`
    stands for the repository, `BRANCH` for the branch."""

    issuer: str
    trusted: str
    untrusted: str
    ours: str
    protected: str


SERVICES: Mapping[str, Service] = {
    "github": Service(
        "token.actions.githubusercontent.com",
        "repo:NAME:ref:refs/heads/BRANCH",
        "repo:NAME:pull_request",
        "assertion.repository == 'NAME'",
        "assertion.ref == 'refs/heads/BRANCH' && assertion.event_name != 'pull_request_target'",
    ),
    # In a merge request's jobs, the branch is the one that it comes from, and of a fork's, the project is the
    # fork. So a condition on the project keeps forks out.
    "gitlab": Service(
        "gitlab.com",
        "project_path:NAME:ref_type:branch:ref:BRANCH",
        "project_path:NAME:ref_type:branch:ref:*",
        "assertion.project_path == 'NAME'",
        "assertion.ref == 'BRANCH' && assertion.ref_type == 'branch' && assertion.ref_protected == 'true' && "
        "assertion.pipeline_source != 'merge_request_event'",
    ),
}


# Name, who that is, what they read, what they write, below the remote's folder.
_ROLES = (
    ("trusted", "jobs of the protected branch: they read and write trusted/ alone", "trusted/*", "trusted/*"),
    ("untrusted", "pull requests: they read all, and write untrusted/ alone", "*", "untrusted/*"),
    ("sweeper", "who clears up (`mlpipec cache gc --in-remote`): reads and removes all", "*", "*"),
)
_ALONE = "a user of its own, whose keys no job of a push has"
_ROLE = "arn:aws:iam::ACCOUNT:role/mlpipe-"
_PROVIDER = "projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER"


class _Jobs(NamedTuple):
    """The jobs of one repository at a service."""

    service: Service
    repository: str
    branch: str
    environments: tuple[str, ...] = ()

    def said(self, text: str) -> str:
        """`text` for this repository."""
        return text.replace("NAME", self.repository).replace("BRANCH", self.branch)


def repository_of(root: Path) -> str | None:
    """`owner/name` of git's `origin`, None without one."""
    try:
        url = gitcalls.said(root, "remote", "get-url", "origin")
    except GitError:
        return None
    match = _ORIGIN.fullmatch((url or "").strip())
    return match[1] if match else None


def render(
    cloud: str,
    address: str,
    repository: str,
    branch: str,
    service: str = "github",
    auth: Auth | None = None,
    environments: Iterable[str] = (),
) -> str:
    """The rules for the remote at `address`, for jobs of the repository whose protected branch is `branch`.

    `auth` is the pipeline's for that cloud: its audience and its names are used. `environments` are those
    that actions wait for: at GitHub, the token of such a job names it in place of the branch. Raises
    `Failure` when the address is not one of that cloud.
    """
    scheme = "gs" if cloud == "gcp" else "s3"
    parts = urlsplit(address)
    if parts.scheme != scheme or not parts.netloc:
        raise Failure(
            f"the remote `{address}` is not one of {cloud}",
            help=f"give --remote {scheme}://BUCKET/FOLDER",
            code=2,
        )
    prefix = parts.path.strip("/")
    base = f"{prefix}/{VERSION}" if prefix else VERSION
    known = SERVICES[service]
    if cloud == "gcp":
        return _gcp(parts.netloc, base, _Jobs(known, repository, branch), auth)
    approved = tuple(environments) if service == "github" else ()
    blocks = []
    for name, who, reads, writes in _ROLES:
        statements = _statements(parts.netloc, base, reads, writes, removes=name == "sweeper")
        policy = {"Version": "2012-10-17", "Statement": statements}
        blocks.append(f"# {name}: {who}\n# permissions\n{json.dumps(policy, indent=2)}")
        if cloud == "aws" and name == "sweeper":
            blocks.append(f"# sweeper: attach it to {_ALONE}")
        elif cloud == "aws":
            trust = _aws_trust(_Jobs(known, repository, branch, approved), auth, trusted=name == "trusted")
            only = (
                f"restrict these to the branch {branch}, in the settings: environment {', '.join(approved)}"
            )
            note = f"# {only}\n" if approved and name == "trusted" else ""
            blocks.append(f"# {name}: who may take that role\n{note}{json.dumps(trust, indent=2)}")
        else:
            whom = _ALONE if name == "sweeper" else "the user whose keys are the secrets of those jobs alone"
            blocks.append(
                f"# {name}: add it with  mc admin policy create ALIAS mlpipe-{name} FILE\n"
                f"# and attach it to {whom}"
            )
    if cloud == "aws":
        blocks.append(f"# in the pipeline\n{_block(auth)}")
    return "\n\n".join(blocks)


def _block(auth: Auth | None) -> str:
    """The `auth` that takes these roles."""
    options = dict(auth.options) if auth is not None else {}
    role, other = options.get("role", _ROLE + "trusted"), options.get("pull_request", _ROLE + "untrusted")
    if not isinstance(other, str):
        other = _ROLE + "untrusted"
    return f'auth aws {{\n  role         = "{role}"\n  pull_request = "{other}"\n}}'


def _statements(
    bucket: str, base: str, reads: str, writes: str, *, removes: bool = False
) -> list[dict[str, Any]]:
    arn = f"arn:aws:s3:::{bucket}"
    change = ["s3:PutObject", "s3:AbortMultipartUpload", *(["s3:DeleteObject"] if removes else [])]
    return [
        {
            "Sid": "List",
            "Effect": "Allow",
            # Without a condition: asked for an object that is not there, a server says so only to those who
            # may list the bucket with no prefix at all. It shows names, not contents.
            "Action": ["s3:ListBucket"],
            "Resource": [arn],
        },
        {
            "Sid": "Read",
            "Effect": "Allow",
            "Action": ["s3:GetObject"],
            "Resource": [f"{arn}/{base}/{reads}"],
        },
        {
            "Sid": "Write",
            "Effect": "Allow",
            "Action": change,
            "Resource": [f"{arn}/{base}/{writes}"],
        },
    ]


def _aws_trust(jobs: _Jobs, auth: Auth | None, *, trusted: bool) -> dict[str, Any]:
    options = dict(auth.options) if auth is not None else {}
    role = options.get("role" if trusted else "pull_request") or options.get("role")
    account = str(role).split(":")[4] if isinstance(role, str) and role.count(":") >= 5 else ""
    issuer = jobs.service.issuer
    subject = jobs.said(jobs.service.trusted if trusted else jobs.service.untrusted)
    audience = identity.audience(auth or Auth("aws"))
    conditions: dict[str, dict[str, str | list[str]]] = {"StringEquals": {f"{issuer}:aud": audience}}
    subjects = [subject]
    if trusted:
        subjects += [f"repo:{jobs.repository}:environment:{name}" for name in jobs.environments]
    wanted = subjects if len(subjects) > 1 else subject
    conditions.setdefault("StringLike" if "*" in subject else "StringEquals", {})[f"{issuer}:sub"] = wanted
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Federated": f"arn:aws:iam::{account or 'ACCOUNT'}:oidc-provider/{issuer}"},
                "Action": "sts:AssumeRoleWithWebIdentity",
                "Condition": conditions,
            }
        ],
    }


def _gcp(bucket: str, base: str, jobs: _Jobs, auth: Auth | None) -> str:
    options = dict(auth.options) if auth is not None else {}
    provider = str(options.get("provider") or _PROVIDER)
    pool = f"principalSet://iam.googleapis.com/{provider.partition('/providers/')[0]}"
    objects = f"projects/_/buckets/{bucket}/objects/{base}"
    bindings = {
        "bindings": [
            # A listing is asked of the bucket: it shows names, not contents.
            {
                "role": "roles/storage.legacyBucketReader",
                "members": [f"{pool}/attribute.mlpipe/{kind}" for kind in ("trusted", "untrusted")],
            },
            _binding("roles/storage.objectUser", f"{pool}/attribute.mlpipe/trusted", f"{objects}/trusted/"),
            _binding("roles/storage.objectViewer", f"{pool}/attribute.mlpipe/untrusted", f"{objects}/"),
            _binding(
                "roles/storage.objectUser", f"{pool}/attribute.mlpipe/untrusted", f"{objects}/untrusted/"
            ),
        ]
    }
    mapping = f"attribute.mlpipe={jobs.said(jobs.service.protected)} ? 'trusted' : 'untrusted'"
    block = f'auth gcp {{\n  provider     = "{provider}"\n  pull_request = true\n}}'
    audience = [f"--allowed-audiences={options['audience']}"] if "audience" in options else []
    return "\n".join(
        [
            "# of the workload identity provider",
            f"--issuer-uri=https://{jobs.service.issuer}",
            *audience,
            f'--attribute-condition="{jobs.said(jobs.service.ours)}"',
            f'--attribute-mapping="google.subject=assertion.sub,{mapping}"',
            "",
            "# of the bucket (uniform bucket-level access)",
            json.dumps(bindings, indent=2),
            "",
            "# in the pipeline; without a service account, jobs come as themselves",
            block,
            "",
            "# who clears up (`mlpipec cache gc --in-remote`) reads and removes all: a person, or an account",
            f'# of its own, with roles/storage.objectUser where resource.name.startsWith("{objects}/")',
        ]
    )


def _binding(role: str, member: str, prefix: str) -> dict[str, Any]:
    return {
        "role": role,
        "members": [member],
        "condition": {"title": "mlpipe", "expression": f'resource.name.startsWith("{prefix}")'},
    }
