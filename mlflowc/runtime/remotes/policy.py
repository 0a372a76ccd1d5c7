"""Rules for the remote's own access control, so that the namespaces do not depend on good will."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlflowc.errors import Failure
from mlflowc.runtime import gitcalls
from mlflowc.runtime.gitcalls import GitError
from mlflowc.runtime.remotes.names import VERSION

_ORIGIN = re.compile(r"(?:[a-z+]+://(?:[^@/]+@)?[^/]+/|[^@/]+@[^:]+:)(.+?)(?:\.git)?/?")
_ISSUER = "token.actions.githubusercontent.com"


def repository_of(root: Path) -> str | None:
    """`owner/name` of git's `origin`, None without one."""
    try:
        url = gitcalls.said(root, "remote", "get-url", "origin")
    except GitError:
        return None
    match = _ORIGIN.fullmatch((url or "").strip())
    return match[1] if match else None


def render(cloud: str, address: str, repository: str, branch: str) -> str:
    """The rules for the remote at `address`, for jobs of the repository whose protected branch is `branch`.

    Raises `Failure` when the address is not one of that cloud.
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
    if cloud == "gcp":
        return _gcp(parts.netloc, base, repository, branch)
    roles = [
        (
            "trusted",
            "jobs of the protected branch: they read and write trusted/ alone",
            ["trusted/*"],
            ["trusted/*"],
        ),
        ("untrusted", "pull requests: they read all, and write untrusted/ alone", ["*"], ["untrusted/*"]),
    ]
    blocks = []
    for name, who, reads, writes in roles:
        policy = {"Version": "2012-10-17", "Statement": _statements(parts.netloc, base, reads, writes)}
        blocks.append(f"# {name}: {who}\n# permissions\n{json.dumps(policy, indent=2)}")
        if cloud == "aws":
            trust = _aws_trust(repository, branch, trusted=name == "trusted")
            blocks.append(f"# {name}: who may take that role\n{json.dumps(trust, indent=2)}")
        else:
            blocks.append(
                f"# {name}: add it with  mc admin policy create ALIAS mlpipe-{name} FILE\n"
                f"# and attach it to the user whose keys are the secrets of those jobs alone"
            )
    return "\n\n".join(blocks)


def _statements(bucket: str, base: str, reads: list[str], writes: list[str]) -> list[dict[str, Any]]:
    arn = f"arn:aws:s3:::{bucket}"
    return [
        {
            "Sid": "List",
            "Effect": "Allow",
            "Action": ["s3:ListBucket"],
            "Resource": [arn],
            # IfExists: asked for an object that is not there, S3 says so only to those who may list.
            "Condition": {"StringLikeIfExists": {"s3:prefix": [f"{base}/{r}" for r in reads]}},
        },
        {
            "Sid": "Read",
            "Effect": "Allow",
            "Action": ["s3:GetObject"],
            "Resource": [f"{arn}/{base}/{r}" for r in reads],
        },
        {
            "Sid": "Write",
            "Effect": "Allow",
            "Action": ["s3:PutObject", "s3:AbortMultipartUpload"],
            "Resource": [f"{arn}/{base}/{w}" for w in writes],
        },
    ]


def _aws_trust(repository: str, branch: str, *, trusted: bool) -> dict[str, Any]:
    subject = f"repo:{repository}:ref:refs/heads/{branch}" if trusted else f"repo:{repository}:pull_request"
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Federated": f"arn:aws:iam::ACCOUNT:oidc-provider/{_ISSUER}"},
                "Action": "sts:AssumeRoleWithWebIdentity",
                "Condition": {
                    "StringEquals": {f"{_ISSUER}:aud": "sts.amazonaws.com", f"{_ISSUER}:sub": subject}
                },
            }
        ],
    }


def _gcp(bucket: str, base: str, repository: str, branch: str) -> str:
    pool = "principalSet://iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL"
    objects = f"projects/_/buckets/{bucket}/objects/{base}"
    ref = f"refs/heads/{branch}"
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
    mapping = (
        f"attribute.mlpipe=assertion.ref == '{ref}' && assertion.event_name != 'pull_request_target' ? "
        "'trusted' : 'untrusted'"
    )
    return "\n".join(
        [
            "# of the workload identity provider",
            f"--issuer-uri=https://{_ISSUER}",
            f"--attribute-condition=\"assertion.repository == '{repository}'\"",
            f'--attribute-mapping="google.subject=assertion.sub,{mapping}"',
            "",
            "# of the bucket (uniform bucket-level access)",
            json.dumps(bindings, indent=2),
        ]
    )


def _binding(role: str, member: str, prefix: str) -> dict[str, Any]:
    return {
        "role": role,
        "members": [member],
        "condition": {"title": "mlpipe", "expression": f'resource.name.startsWith("{prefix}")'},
    }
