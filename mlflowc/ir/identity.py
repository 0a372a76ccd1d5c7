"""Who gets short-lived credentials (`auth aws { … }`): pure functions of the pipeline.

A CI service signs a token that says which repository, branch and event a job is of; a provider gives
credentials for it. What asks for the token and shows it is in `mlflowc.runtime.identity`.

Options of an `auth`, all texts (but `pull_request`, which may be true):

| provider | options |
|---|---|
| `aws` | `role`; `region`, `session`, `sts` (the address of another STS) |
| `gcp` | `provider` (`projects/N/locations/global/workloadIdentityPools/P/providers/X`); `service_account` |
| `azure` | `client_id`, `tenant_id`; `authority` (the address of another cloud's login) |
| all | `audience`; `pull_request`: as whom jobs of pull requests come, true: as everybody |
"""

from __future__ import annotations

from collections.abc import Iterable

from mlflowc.frozen import dataclass
from mlflowc.ir.model import Action, Auth, Data, DataRef, Event, Pipeline, Stage

# In the order in which they are told.
PROVIDERS = ("aws", "gcp", "azure")
# The option that says as whom one comes.
WHO = {"aws": "role", "gcp": "service_account", "azure": "client_id"}
# Signs results; it is no credential of the remote.
SIGNING_KEY = "MLPIPEC_SIGNING_KEY"
_SCHEMES = {"s3": "aws", "gs": "gcp", "az": "azure"}
# Settings of a remote that say with which credentials, or that none are needed.
OWN = frozenset(
    (
        *("access_key_id", "secret_access_key", "skip_signature", "account_key", "sas_key", "sas_token"),
        *("bearer_token", "service_account", "service_account_key", "client_secret"),
    )
)


@dataclass(frozen=True, slots=True)
class Identity:
    """As whom a job comes to a provider: the options of its `auth` that hold for the event."""

    provider: str
    options: dict[str, str]
    audience: str


def provider_of(address: str) -> str | None:
    """The provider of `s3://…`, `gs://…`, `az://…`; None of any other address."""
    return _SCHEMES.get(address.partition("://")[0]) if "://" in address else None


def find(pipeline: Pipeline, provider: str) -> Auth | None:
    """The `auth` of a provider."""
    return next((a for a in pipeline.auths if a.provider == provider), None)


def of_remote(pipeline: Pipeline) -> str | None:
    """The provider whose credentials the remote of the `cache` block takes: one with `secrets` or keys of its
    own takes those."""
    cache = pipeline.cache
    provider = provider_of(cache.remote or "")
    if provider is None or find(pipeline, provider) is None:
        return None
    own = any(n != SIGNING_KEY for n in cache.secrets) or any(k in OWN for k, _ in cache.options)
    return None if own else provider


def of_data(pipeline: Pipeline, data: Data) -> tuple[str, ...]:
    """The providers whose credentials fetching `data` takes: those that it names; else that of its address,
    where an `auth` is declared, and it has no `secrets` of its own."""
    args = dict(data.args)
    named = args.get("auth")
    if isinstance(named, tuple):
        return tuple(str(n) for n in named)
    if args.get("secrets") or args.get("anonymous"):
        return ()
    address = args.get("url") if data.source == "url" else args.get("name")
    provider = provider_of(str(address)) if data.source in ("url", "deployed") else None
    return (provider,) if provider is not None and find(pipeline, provider) is not None else ()


def of_step(pipeline: Pipeline, step: Stage | Action) -> tuple[str, ...]:
    """The providers that the commands of a stage or an action, and fetching the data that it reads, take."""
    read = {s.data for i in step.inputs for s in i.sources if isinstance(s, DataRef)}
    of_read = (p for d in pipeline.data if d.name in read for p in of_data(pipeline, d))
    return _ordered((*step.auth, *of_read))


def of_job(
    pipeline: Pipeline, event: Event, steps: Iterable[Stage | Action], fetched: Iterable[Data]
) -> tuple[str, ...]:
    """The providers whose credentials a job of `event` takes, which runs `steps` and takes in `fetched`.

    Jobs of a pull request use the remote with credentials only where `pull_request` of the `auth` says so.
    """
    own = [p for s in steps for p in of_step(pipeline, s)]
    own += [p for d in fetched for p in of_data(pipeline, d)]
    remote = of_remote(pipeline)
    if remote is not None and shares(pipeline, event.kind):
        own.append(remote)
    return _ordered(p for p in own if find(pipeline, p) is not None)


def shares(pipeline: Pipeline, kind: str) -> bool:
    """Whether jobs of an event of that kind use the remote with the credentials of an `auth`."""
    remote = of_remote(pipeline)
    found = find(pipeline, remote) if remote is not None else None
    return found is not None and (kind != "pull_request" or bool(dict(found.options).get("pull_request")))


def identity(auth: Auth, kind: str) -> Identity:
    """As whom jobs of an event of that kind come."""
    options = {k: v for k, v in auth.options if isinstance(v, str)}
    other = options.pop("pull_request", None)
    if kind == "pull_request" and other is not None:
        options[WHO[auth.provider]] = other
    return Identity(auth.provider, options, audience(auth))


def audience(auth: Auth) -> str:
    """For whom the token is: what the provider expects unless it was told otherwise."""
    options = dict(auth.options)
    if "audience" in options:
        return str(options["audience"])
    if auth.provider == "gcp":
        return f"https://iam.googleapis.com/{options.get('provider', '')}"
    return "sts.amazonaws.com" if auth.provider == "aws" else "api://AzureADTokenExchange"


def variable(provider: str) -> str:
    """The variable in which a service that hands out ready tokens (GitLab) puts the one for `provider`."""
    return f"MLPIPE_OIDC_{provider.upper()}"


def _ordered(providers: Iterable[str]) -> tuple[str, ...]:
    found = set(providers)
    return tuple(p for p in PROVIDERS if p in found)
