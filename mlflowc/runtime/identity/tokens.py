"""The tokens that a CI service signs for a job: who hands them out, and what they say of themselves."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from mlflowc.errors import Failure
from mlflowc.ir import identity

# GitHub's runner gives a token to who asks for one, as often as they ask.
_URL, _REQUEST = "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
_BITBUCKET = "BITBUCKET_STEP_OIDC_TOKEN"
_PATIENCE = 20.0


class Offer(NamedTuple):
    """A service that hands out tokens. `ask(audience)` may raise `Failure`; `again`: it has later ones."""

    service: str
    ask: Callable[[str], str]
    again: bool = False


def offer(env: Mapping[str, str], provider: str) -> Offer | None:
    """Who gives this job tokens for `provider`; None: nobody. A fork's job is given none, whatever is set."""
    if is_fork(env):
        return None
    url, request = env.get(_URL), env.get(_REQUEST)
    if url and request:
        return Offer("GitHub", lambda audience: _of_github(url, request, audience), again=True)
    given = env.get(identity.variable(provider))
    if given:
        return Offer("GitLab", _ready(given))
    given = env.get(_BITBUCKET)
    return Offer("Bitbucket", _ready(given)) if given else None


def _ready(token: str) -> Callable[[str], str]:
    return lambda audience: token


def take_away(env: MutableMapping[str, str]) -> dict[str, str]:
    """Removes what tokens are got with, so that no program that is started from here inherits it; returns all
    variables as they were."""
    before = dict(env)
    for name in (_URL, _REQUEST, _BITBUCKET, *(identity.variable(p) for p in identity.PROVIDERS)):
        env.pop(name, None)
    return before


def is_fork(env: Mapping[str, str]) -> bool:
    """Whether what is checked out comes from another repository than the job belongs to."""
    own, other = env.get("CI_PROJECT_ID"), env.get("CI_MERGE_REQUEST_SOURCE_PROJECT_ID")
    if own and other and own != other:
        return True
    path = env.get("GITHUB_EVENT_PATH")
    if not path or not env.get("GITHUB_EVENT_NAME", "").startswith("pull_request"):
        return False
    try:
        found = json.loads(Path(path).read_bytes())
        head = (found["pull_request"]["head"].get("repo") or {}).get("full_name")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return True  # a pull request of nobody knows whom
    return head != env.get("GITHUB_REPOSITORY")


def claims(token: str) -> dict[str, Any]:
    """What a token says; empty for what is none. It is not verified: who is shown it does that."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        found = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def who(token: str) -> str:
    """What a provider's conditions are compared with, for people."""
    said = claims(token)
    lines = [f"  {name} {said[key]}" for key, name in _SAID.items() if key in said]
    return "\n".join(["the token says:", *lines]) if lines else "the token is not one of OIDC"


_SAID = {"iss": "issuer  ", "aud": "audience", "sub": "subject "}


def _of_github(url: str, request: str, audience: str) -> str:
    import httpx  # few jobs ask

    address = f"{url}{'&' if '?' in url else '?'}{urlencode({'audience': audience})}"
    headers = {"Authorization": f"bearer {request}", "Accept": "application/json; api-version=2.0"}
    try:
        with httpx.Client(timeout=_PATIENCE, transport=httpx.HTTPTransport(retries=2)) as client:
            answer = client.get(address, headers=headers)
    except httpx.HTTPError as e:
        raise Failure(f"GitHub's token service cannot be reached: {type(e).__name__}") from None
    try:
        token = answer.json()["value"] if answer.status_code == 200 else None
    except (ValueError, KeyError, TypeError):
        token = None
    if not isinstance(token, str) or not token:
        raise Failure(
            f"GitHub gave no token (status {answer.status_code})",
            help="the job needs `permissions: id-token: write`: `mlpipec build` writes it",
        )
    return token
