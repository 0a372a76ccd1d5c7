"""The credentials of a step that says `auth = […]`: the job's own in CI, a person's on their machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mlflowc.errors import Failure
from mlflowc.ir.model import Stage
from mlflowc.runtime import childenv

if TYPE_CHECKING:
    from mlflowc.runtime.identity.held import Held


class _Own(NamedTuple):
    """A person's own credentials at a provider: how the variables that tell of them begin, which of these are
    secret, which are enough; files of the home in which they lie, whose machines have some, how to get them.
    """

    name: str
    beginnings: tuple[str, ...]
    secret: tuple[str, ...]
    enough: tuple[str, ...]
    files: tuple[str, ...]
    vendor: str
    help: str


_OWN: Mapping[str, _Own] = {
    "aws": _Own(
        "AWS",
        ("AWS_",),
        ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN"),
        (
            *("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
            *("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"),
        ),
        (".aws/credentials", ".aws/config"),
        "Amazon",
        "`aws configure sso`, then `aws sso login`; or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ),
    "gcp": _Own(
        "Google Cloud",
        ("GOOGLE_", "CLOUDSDK_", "GCLOUD_"),
        ("GOOGLE_SERVICE_ACCOUNT_KEY", "GOOGLE_BEARER_TOKEN", "CLOUDSDK_AUTH_ACCESS_TOKEN"),
        (
            *("GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE", "CLOUDSDK_CONFIG"),
            *("GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_KEY", "CLOUDSDK_AUTH_ACCESS_TOKEN"),
        ),
        (".config/gcloud/application_default_credentials.json", ".config/gcloud/credentials.db"),
        "Google",
        "`gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS",
    ),
    "azure": _Own(
        "Azure",
        ("AZURE_", "ARM_", "IDENTITY_", "MSI_"),
        (
            *("AZURE_CLIENT_SECRET", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_KEY", "ARM_CLIENT_SECRET"),
            *("AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_CONNECTION_STRING", "IDENTITY_HEADER", "MSI_SECRET"),
        ),
        (
            *("AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_CLIENT_CERTIFICATE_PATH"),
            *("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_KEY", "AZURE_STORAGE_CONNECTION_STRING"),
            *("AZURE_STORAGE_SAS_TOKEN", "AZURE_CONFIG_DIR", "IDENTITY_ENDPOINT", "MSI_ENDPOINT"),
        ),
        (".azure/azureProfile.json", ".azure/msal_token_cache.json", ".azure/msal_token_cache.bin"),
        "Microsoft",
        "`az login`, or set AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET",
    ),
}
_VENDOR = Path("/sys/class/dmi/id/sys_vendor")


def variables(
    what: str, providers: tuple[str, ...], held: Held | None, host: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Variables for the commands of a step; `what` as in `stage train`. Raises `Failure` where there are no
    credentials."""
    found: dict[str, str] = {}
    for provider in providers:
        if held is None:
            found |= _own(what, provider, host)
        elif held.has(provider):
            found |= held.variables(provider)
        else:
            raise Failure(
                f"{what} needs credentials of {_OWN[provider].name}, and this job was given no token",
                help="generated files ask for one (`mlpipec build`); no fork's pull request ever gets one",
            )
    return found


def folders(providers: tuple[str, ...], held: Held | None) -> list[Path]:
    """Folders that the commands of a step have to see, beside the project's. Raises `OSError`."""
    return [held.folder] if providers and held is not None else []


def readable(
    providers: tuple[str, ...], held: Held | None, host: Mapping[str, str] = os.environ
) -> Iterator[str]:
    """Files and folders that SDKs read for the credentials of a step: what its sandbox lets through."""
    if held is not None:
        yield from map(str, folders(providers, held))
        return
    for provider in providers:
        own = _OWN[provider]
        home = Path(host.get("HOME") or Path.home())
        yield from sorted({str((home / f).parent) for f in own.files})
        yield from (host[n] for n in own.enough if host.get(n, "").startswith("/"))


def hide(
    stage: Stage, held: Held | None, host: Mapping[str, str] = os.environ
) -> tuple[tuple[str, ...], Callable[[], tuple[str, ...]]]:
    """What the log of a step may not show: what is known now, and what comes up while it runs. Raises
    `Failure` for a secret that is not set."""
    known = tuple(childenv.secrets(stage, host).values()) if stage.secrets else ()
    if not stage.auth:
        return known, tuple
    if held is not None:
        return known, lambda: held.hidden
    return (*known, *(host[n] for p in stage.auth for n in _OWN[p].secret if host.get(n))), tuple


def _own(what: str, provider: str, host: Mapping[str, str]) -> dict[str, str]:
    own = _OWN[provider]
    found = {n: v for n, v in host.items() if n.startswith(own.beginnings)}
    home = Path(host.get("HOME") or Path.home())
    there = any(host.get(n) for n in own.enough) or any((home / f).is_file() for f in own.files)
    if not there and own.vendor not in _vendor():
        raise Failure(f"{what} needs credentials of {own.name}, and there are none here", help=own.help)
    return found


def _vendor() -> str:
    """Who made this machine: on one of a provider's own, its SDK finds the credentials of the machine."""
    try:
        return _VENDOR.read_text()
    except OSError:
        return ""
