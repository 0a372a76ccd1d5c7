"""The tokens of one job while it runs: in files that nobody else reads, made new before they expire."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mlflowc.errors import Failure
from mlflowc.ir.identity import Identity
from mlflowc.runtime.identity import exchange, tokens
from mlflowc.runtime.identity.tokens import Offer

# A token is made new when half of its life is over; one that does not say when, after so many seconds.
_UNKNOWN = 240.0
_SHORTEST = 1.0
_AGAIN = 10.0


def _write_out(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


class Held:
    """As whom this job comes to each provider, and its tokens. A context: at its end all files are gone.

    `offers` says who hands out tokens; a provider without one gives this job nothing. Nothing is asked before
    something needs it. `session` is a name for the providers' logs. `say` is told lines for the service.
    """

    def __init__(
        self,
        identities: Mapping[str, Identity],
        offers: Mapping[str, Offer],
        session: str,
        *,
        outside: Path | None = None,
        say: Callable[[str], object] = _write_out,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self._identities = {p: i for p, i in identities.items() if p in offers}
        self._offers = offers
        self._session = (re.sub(r"[^\w+=,.@-]+", "-", session, flags=re.ASCII) or "mlpipec")[:64]
        self._outside = outside
        self._say = say
        self._warn = warn or (lambda line: print(line, file=sys.stderr, flush=True))
        self._folder: Path | None = None
        self._tokens: dict[str, tuple[str, float]] = {}
        self._seen: tuple[str, ...] = ()
        self._problems: dict[str, Failure] = {}
        self._guard = threading.RLock()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        if self._thread is not None:
            self._thread.join(5)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def has(self, provider: str) -> bool:
        """Whether this job has an identity there."""
        return provider in self._identities

    @property
    def hidden(self) -> tuple[str, ...]:
        """All values that no log may show, as far as there are any by now."""
        return self._seen

    @property
    def folder(self) -> Path:
        """Where the files are: outside of the checkout, for this user alone. Raises `OSError`."""
        with self._guard:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="mlpipec-auth-", dir=self._base()))
            return self._folder

    def _base(self) -> str | None:
        base = os.environ.get("RUNNER_TEMP") or tempfile.gettempdir()
        if self._outside is not None and Path(base).resolve().is_relative_to(self._outside.resolve()):
            return str(self._outside.resolve().parent)
        return base

    # --- for this tool's own transfers

    def credential(self, provider: str) -> dict[str, Any]:
        """Credentials for the client of buckets. Raises `Failure`, which `problem` then is, too."""
        try:
            found = exchange.credential(self._identities[provider], self._session, self._token(provider))
        except Failure as e:
            self._problems[provider] = e
            raise
        self._problems.pop(provider, None)
        return found

    def problem(self, provider: str) -> Failure | None:
        """Why there were no credentials when they were last asked for."""
        return self._problems.get(provider)

    def region(self, provider: str) -> str | None:
        """The region that the `auth` names."""
        return self._identities[provider].options.get("region")

    # --- for commands

    def variables(self, provider: str) -> dict[str, str]:
        """What every SDK of the provider understands: files and names, no secret. Raises `Failure`."""
        self._token(provider)
        at = self._identities[provider]
        options, path = at.options, str(self._path(provider))
        if provider == "aws":
            found = {
                "AWS_WEB_IDENTITY_TOKEN_FILE": path,
                "AWS_ROLE_ARN": options["role"],
                "AWS_ROLE_SESSION_NAME": options.get("session", self._session),
            }
            if "region" in options:
                found |= {"AWS_REGION": options["region"], "AWS_DEFAULT_REGION": options["region"]}
            return found | ({"AWS_ENDPOINT_URL_STS": options["sts"]} if "sts" in options else {})
        if provider == "azure":
            found = {
                "AZURE_FEDERATED_TOKEN_FILE": path,
                "AZURE_CLIENT_ID": options["client_id"],
                "AZURE_TENANT_ID": options["tenant_id"],
            }
            return found | ({"AZURE_AUTHORITY_HOST": options["authority"]} if "authority" in options else {})
        account = str(self._external_account(at, path))
        return {
            "GOOGLE_APPLICATION_CREDENTIALS": account,
            "CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE": account,
        }

    def _external_account(self, at: Identity, token: str) -> Path:
        said: dict[str, Any] = {
            "type": "external_account",
            "audience": exchange.google_audience(at),
            "subject_token_type": exchange.JWT,
            "token_url": exchange.GOOGLE_STS,
            "credential_source": {"file": token, "format": {"type": "text"}},
        }
        if "service_account" in at.options:
            account = at.options["service_account"]
            said["service_account_impersonation_url"] = exchange.google_impersonation(account)
        path = self.folder / "gcp.json"
        _write(path, json.dumps(said, indent=2))
        return path

    # --- tokens

    def _path(self, provider: str) -> Path:
        return self.folder / f"{provider}.token"

    def _token(self, provider: str) -> str:
        with self._guard:
            known = self._tokens.get(provider)
            if known is None:
                known = self._take(provider)
                if self._offers[provider].again and self._thread is None and not self._end.is_set():
                    self._thread = threading.Thread(target=self._keep_new, name="tokens", daemon=True)
                    self._thread.start()
            return known[0]

    def _take(self, provider: str) -> tuple[str, float]:
        offer, at = self._offers[provider], self._identities[provider]
        token = offer.ask(at.audience)
        with self._guard:
            if token not in self._seen:
                self._seen = (*self._seen, token)
                if offer.service == "GitHub":
                    # From here on the service itself hides it, in whatever this job prints. It has to stand
                    # at the beginning of a line, and others may be writing one.
                    self._say(f"\n::add-mask::{token}\n")
            try:
                _write(self._path(provider), token)
            except OSError as e:
                raise Failure(f"a token cannot be kept in a file: {e.strerror}") from e
            self._tokens[provider] = token, time.time() + _half_life(token)
            return self._tokens[provider]

    def _keep_new(self) -> None:
        told: set[str] = set()
        while True:
            with self._guard:
                due = min((at for p, (_, at) in self._tokens.items() if self._offers[p].again), default=None)
            pause = _AGAIN if due is None else max(_SHORTEST / 4, due - time.time())
            if self._end.wait(pause):
                return
            for provider, (token, at) in list(self._tokens.items()):
                if not self._offers[provider].again or at > time.time():
                    continue
                try:
                    self._take(provider)
                    told.discard(provider)
                except Failure as e:
                    if provider not in told and not self._end.is_set():
                        told.add(provider)
                        self._warn(f"warning: the token for {provider} was not made new: {e.message}")
                    with self._guard:
                        self._tokens[provider] = token, time.time() + _AGAIN


def _half_life(token: str) -> float:
    said = tokens.claims(token)
    try:
        left = float(said["exp"]) - time.time()
    except (KeyError, TypeError, ValueError):
        return _UNKNOWN
    return max(_SHORTEST, left / 2)


def _write(path: Path, text: str) -> None:
    """Puts a file there all at once, for this user alone."""
    fresh = path.with_name(f"{path.name}.{os.urandom(4).hex()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        fresh.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise
