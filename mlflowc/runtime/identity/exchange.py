"""A token for credentials: the three providers' services.

The clients for buckets could do some of this by themselves. They lack some of it (Google's external accounts,
an STS without TLS), and keep to themselves why a provider refused, which is what people have to know.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from mlflowc.errors import Failure
from mlflowc.ir.identity import Identity
from mlflowc.runtime.identity import tokens

if TYPE_CHECKING:
    import httpx

GOOGLE_STS = "https://sts.googleapis.com/v1/token"
GOOGLE_IAM = "https://iamcredentials.googleapis.com/v1"
MICROSOFT = "https://login.microsoftonline.com"
JWT = "urn:ietf:params:oauth:token-type:jwt"
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_STORAGE = "https://storage.azure.com/.default"
_PATIENCE = 30.0
_LIFETIME = timedelta(hours=1)


def credential(identity: Identity, session: str, token: str) -> dict[str, Any]:
    """Credentials for `token`, in the form that the client for buckets takes. Raises `Failure`."""
    return _EXCHANGES[identity.provider](identity, session, token)


def sts_of(identity: Identity, env: Mapping[str, str] = os.environ) -> str:
    """The address of AWS's token service."""
    options = identity.options
    region = options.get("region") or env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION")
    given = options.get("sts") or env.get("AWS_ENDPOINT_URL_STS")
    host = f"sts.{region}.amazonaws.com" if region else "sts.amazonaws.com"
    return given or f"https://{host}{'.cn' if (region or '').startswith('cn-') else ''}"


def google_audience(identity: Identity) -> str:
    """The name of the workload identity provider, as Google's token service takes it."""
    return f"//iam.googleapis.com/{identity.options['provider']}"


def google_impersonation(account: str) -> str:
    """Where a service account's tokens come from."""
    return f"{GOOGLE_IAM}/projects/-/serviceAccounts/{account}:generateAccessToken"


def _aws(identity: Identity, session: str, token: str) -> dict[str, Any]:
    role = identity.options["role"]
    form = {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": role,
        "RoleSessionName": session,
        "WebIdentityToken": token,
    }
    answer = _post("AWS", sts_of(identity), data=form)
    try:
        found = {e.tag.rpartition("}")[2]: e.text or "" for e in ElementTree.fromstring(answer.text).iter()}
    except ElementTree.ParseError:
        found = {}
    if answer.status_code != 200 or "SessionToken" not in found:
        reason = ": ".join(filter(None, (found.get("Code"), found.get("Message")))) or _status(answer)
        help = _help("the role's trust policy says who may take it (`mlpipec cache policy aws`)", token)
        raise Failure(f"AWS does not give this job the role `{role}`: {reason}", help=help)
    expires = found.get("Expiration", "")
    return {
        "access_key_id": found["AccessKeyId"],
        "secret_access_key": found["SecretAccessKey"],
        "token": found["SessionToken"],
        "expires_at": _time(expires),
    }


def _gcp(identity: Identity, session: str, token: str) -> dict[str, Any]:
    account = identity.options.get("service_account")
    return google(
        google_audience(identity), token, GOOGLE_STS, google_impersonation(account) if account else None
    )


def google(
    audience: str, token: str, address: str, impersonation: str | None, kind: str = JWT
) -> dict[str, Any]:
    """A token of Google's for a `token` of that `kind`, shown to the token service at `address`; with an
    address of `impersonation` that of the service account there. Raises `Failure`."""
    wanted = {
        "grantType": "urn:ietf:params:oauth:grant-type:token-exchange",
        "audience": audience,
        "scope": _SCOPE,
        "requestedTokenType": "urn:ietf:params:oauth:token-type:access_token",
        "subjectTokenType": kind,
        "subjectToken": token,
    }
    answer = _post("Google Cloud", address, json=wanted)
    found = _json(answer)
    if answer.status_code != 200 or "access_token" not in found:
        reason = found.get("error_description") or found.get("error") or _status(answer)
        help = _help("its condition and its audiences decide that (`mlpipec cache policy gcp`)", token)
        provider = audience.removeprefix("//iam.googleapis.com/")
        raise Failure(f"Google Cloud's `{provider}` does not take this job's token: {reason}", help=help)
    if impersonation is None:
        return {"token": found["access_token"], "expires_at": _later(found.get("expires_in"))}
    headers = {"Authorization": f"Bearer {found['access_token']}"}
    answer = _post("Google Cloud", impersonation, json={"scope": [_SCOPE]}, headers=headers)
    found = _json(answer)
    if answer.status_code != 200 or "accessToken" not in found:
        error = found.get("error")
        reason = error.get("message") if isinstance(error, dict) else None
        help = _help("it needs the role `roles/iam.workloadIdentityUser` on the account", token)
        account = impersonation.rpartition("/")[2].partition(":")[0]
        raise Failure(f"this job may not act as `{account}`: {reason or _status(answer)}", help=help)
    return {"token": found["accessToken"], "expires_at": _time(str(found.get("expireTime", "")))}


def _azure(identity: Identity, session: str, token: str) -> dict[str, Any]:
    options = identity.options
    address = f"{options.get('authority', MICROSOFT).rstrip('/')}/{options['tenant_id']}/oauth2/v2.0/token"
    form = {
        "client_id": options["client_id"],
        "scope": _STORAGE,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": token,
        "grant_type": "client_credentials",
    }
    answer = _post("Azure", address, data=form)
    found = _json(answer)
    if answer.status_code != 200 or "access_token" not in found:
        said = str(found.get("error_description") or found.get("error") or _status(answer))
        help = _help("a federated credential of that application has to say the same", token)
        client = options["client_id"]
        message = f"Azure does not let this job in as `{client}`: {said.splitlines()[0]}"
        raise Failure(message, help=help)
    return {"token": found["access_token"], "expires_at": _later(found.get("expires_in"))}


_EXCHANGES: Mapping[str, Callable[[Identity, str, str], dict[str, Any]]] = {
    "aws": _aws,
    "gcp": _gcp,
    "azure": _azure,
}


def _help(text: str, token: str) -> str:
    return f"{text}\n{tokens.who(token)}"


def _post(whom: str, address: str, **request: Any) -> httpx.Response:
    import httpx  # few jobs ask

    try:
        with httpx.Client(timeout=_PATIENCE, transport=httpx.HTTPTransport(retries=2)) as client:
            return client.post(address, **request)
    except (httpx.HTTPError, httpx.InvalidURL) as e:
        raise Failure(
            f"{whom}'s token service at {address} cannot be reached: {type(e).__name__}",
            help="check the network, and the address where one is given",
        ) from None


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _status(answer: httpx.Response) -> str:
    return f"status {answer.status_code}"


def _later(seconds: object) -> datetime:
    known = isinstance(seconds, int | float) or (isinstance(seconds, str) and seconds.isdigit())
    life = timedelta(seconds=float(str(seconds))) if known else _LIFETIME
    return datetime.now(UTC) + life


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return datetime.now(UTC) + _LIFETIME
    return found if found.tzinfo else found.replace(tzinfo=UTC)
