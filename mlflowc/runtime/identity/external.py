"""Google's external accounts, which the client for buckets does not read: a file says where a token is, and
to whom it is shown. `google-github-actions/auth` writes such files, and `gcloud iam workload-identity-pools`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflowc.errors import Failure
from mlflowc.runtime.identity import exchange

_PATIENCE = 30.0


class External:
    """What a file of the type `external_account` gives."""

    def __init__(self, path: str, said: Mapping[str, Any]) -> None:
        self.path = path
        self._said = said
        self._problem: Failure | None = None

    def last(self) -> Failure | None:
        """Why there were no credentials when they were last asked for."""
        return self._problem

    def credential(self) -> dict[str, Any]:
        """A token, in the form that the client for buckets takes. Raises `Failure`."""
        try:
            found = exchange.google(
                str(self._said["audience"]),
                self._token(),
                str(self._said.get("token_url") or exchange.GOOGLE_STS),
                self._said.get("service_account_impersonation_url"),
                str(self._said.get("subject_token_type") or exchange.JWT),
            )
        except KeyError as e:
            self._problem = Failure(f"`{self.path}` has no {e}", help="make it again")
            raise self._problem from None
        except Failure as e:
            self._problem = e
            raise
        self._problem = None
        return found

    def _token(self) -> str:
        source = self._said["credential_source"]
        try:
            if "file" in source:
                text = Path(source["file"]).read_text()
            elif "url" in source:
                text = _asked(source["url"], source.get("headers") or {})
            else:
                kinds = ", ".join(f"`{k}`" for k in source)
                raise Failure(
                    f"`{self.path}` takes its token from {kinds}, which is not read here",
                    help="tokens from a `file` or a `url` are",
                )
        except OSError as e:
            message = f"the token of `{self.path}` cannot be read: {e.strerror}"
            raise Failure(message, help=f"it should be in `{source['file']}`") from None
        form = source.get("format") or {}
        if form.get("type") != "json":
            return text.strip()
        try:
            return str(json.loads(text)[form.get("subject_token_field_name", "access_token")])
        except (ValueError, KeyError, TypeError):
            raise Failure(f"the token of `{self.path}` is not where its `format` says") from None


def of(env: Mapping[str, str]) -> External | None:
    """The external account that the environment names; None where it names none, or something else."""
    path = env.get("GOOGLE_APPLICATION_CREDENTIALS")
    if not path or env.get("GOOGLE_SERVICE_ACCOUNT") or env.get("GOOGLE_BEARER_TOKEN"):
        return None
    try:
        said = json.loads(Path(path).read_bytes())
    except (OSError, ValueError):
        return None  # the client says what is wrong with it
    if not isinstance(said, dict) or said.get("type") != "external_account":
        return None
    return External(path, said)


def _asked(address: str, headers: Mapping[str, str]) -> str:
    import httpx  # few ask

    try:
        with httpx.Client(timeout=_PATIENCE, transport=httpx.HTTPTransport(retries=2)) as client:
            answer = client.get(address, headers=dict(headers))
    except (httpx.HTTPError, httpx.InvalidURL) as e:
        raise Failure(f"the service that has the token cannot be reached: {type(e).__name__}") from None
    if answer.status_code != 200:
        raise Failure(f"the service that has the token gave none (status {answer.status_code})")
    return answer.text
