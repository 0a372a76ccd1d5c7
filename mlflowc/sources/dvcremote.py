"""A remote of DVC, from its section of the configuration: a transport to read objects from."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from mlflowc.errors import Failure
from mlflowc.ir.model import Value
from mlflowc.runtime.remotes.transport import Transport, connect

Options = Mapping[str, str]
# What our client calls the options of DVC; others change nothing for a reader.
_S3 = {
    "endpointurl": "endpoint",
    "region": "region",
    "access_key_id": "access_key_id",
    "secret_access_key": "secret_access_key",
    "session_token": "session_token",
}
_GS = {"endpointurl": "base_url", "credentialpath": "service_account"}
_AZURE = {
    "account_name": "account_name",
    "account_key": "account_key",
    "sas_token": "sas_token",
    "tenant_id": "tenant_id",
    "client_id": "client_id",
    "client_secret": "client_secret",
}
_OTHERS = ("gdrive", "oss", "hdfs", "webhdfs", "webdav", "webdavs")


def open_remote(name: str, remotes: Mapping[str, Options], env: Mapping[str, str]) -> Transport:
    """The remote called `name`. Raises `Failure` for one that is not configured, or cannot be spoken to."""
    options = _resolved(name, remotes)
    url = options["url"]
    scheme = urlsplit(url).scheme if "://" in url else ""
    if scheme in _OTHERS:
        raise Failure(
            f"the DVC remote `{name}` is at {scheme}://, which mlpipec does not read",
            help="run `dvc pull` first: what DVC's own cache has is taken from there",
        )
    make = _KINDS.get(scheme)
    if make is None:
        raise Failure(f"the DVC remote `{name}` is at {scheme}://, which nothing here speaks")
    return make(url, options, env)


def _resolved(name: str, remotes: Mapping[str, Options]) -> Options:
    """The options of a remote; those of `remote://other/path` are the other's, with the path added."""
    seen: list[str] = []
    options: dict[str, str] = {}
    at, rest = name.lower(), ""
    while True:
        found = remotes.get(at)
        if found is None or "url" not in found:
            known = ", ".join(f"`{r}`" for r in remotes) or "none"
            raise Failure(
                f"DVC has no remote `{at}` with a `url`",
                help=f"`.dvc/config` has: {known}; see `dvc remote add`",
            )
        options = {**found, **options}
        url = found["url"]
        if not url.startswith("remote://") or at in seen:
            return {**options, "url": url.rstrip("/") + rest}
        seen.append(at)
        at, _, path = url.removeprefix("remote://").partition("/")
        rest = f"/{path}{rest}" if path else rest


def _local(url: str, options: Options, env: Mapping[str, str]) -> Transport:
    if not Path(url).is_absolute():
        raise Failure(
            f"the DVC remote `{url}` is a folder of the machine where that repository is",
            help="use a remote that can be reached from here",
        )
    return connect(url, Path("/"), {})


def _s3(url: str, options: Options, env: Mapping[str, str]) -> Transport:
    given = _named(options, _S3)
    if "access_key_id" not in given and any(
        k in options for k in ("profile", "credentialpath", "configpath")
    ):
        # The client for buckets is not there without its extra.
        from mlflowc.runtime.remotes.cloud import aws_profile

        named = {
            "AWS_PROFILE": options.get("profile"),
            "AWS_SHARED_CREDENTIALS_FILE": options.get("credentialpath"),
            "AWS_CONFIG_FILE": options.get("configpath"),
        }
        kept = {k: v for k, v in env.items() if k != "AWS_ACCESS_KEY_ID"}
        given = {**aws_profile({**kept, **{k: v for k, v in named.items() if v}}), **given}
    if options.get("allow_anonymous_login", "").lower() == "true":
        given["skip_signature"] = True
    return connect(url, Path("/"), given)


def _gs(url: str, options: Options, env: Mapping[str, str]) -> Transport:
    given = _named(options, _GS)
    if options.get("allow_anonymous_login", "").lower() == "true":
        given["skip_signature"] = True
    return connect(url, Path("/"), given)


def _azure(url: str, options: Options, env: Mapping[str, str]) -> Transport:
    given = _named(options, _AZURE)
    for part in options.get("connection_string", "").split(";"):
        key, _, value = part.partition("=")
        names = {
            "AccountName": "account_name",
            "AccountKey": "account_key",
            "SharedAccessSignature": "sas_token",
        }
        if key in names:
            given.setdefault(names[key], value)
    return connect("az://" + url.partition("://")[2], Path("/"), given)


def _ssh(url: str, options: Options, env: Mapping[str, str]) -> Transport:
    if "password" in options or options.get("ask_password", "").lower() == "true":
        raise Failure(
            f"the DVC remote {url} wants a password", help="let it take a key: `dvc remote modify … keyfile`"
        )
    parts = urlsplit(url)
    user = parts.username or options.get("user")
    port = parts.port or options.get("port")
    place = f"{user + '@' if user else ''}{parts.hostname}{f':{port}' if port else ''}"
    given: dict[str, Value] = {"key": options["keyfile"]} if "keyfile" in options else {}
    return connect(urlunsplit(("ssh", place, parts.path, "", "")), Path("/"), given)


def _web(url: str, options: Options, env: Mapping[str, str]) -> Transport:
    headers: dict[str, str] = {}
    auth, password = options.get("auth", "").lower(), options.get("password", "")
    if auth == "custom" and "custom_auth_header" in options:
        headers[options["custom_auth_header"]] = password
    elif auth == "digest":
        raise Failure(
            f"the DVC remote {url} wants digest authentication", help="use `basic` over https, or a token"
        )
    elif password or options.get("user"):
        pair = f"{options.get('user', '')}:{password}".encode()
        headers["Authorization"] = "Basic " + base64.b64encode(pair).decode()
    if not headers:
        return connect(url, Path("/"), {})
    from mlflowc.runtime.remotes.cloud import with_headers  # needs its client, as above

    return with_headers(url, headers)


def _named(options: Options, names: Mapping[str, str]) -> dict[str, Value]:
    return {ours: options[theirs] for theirs, ours in names.items() if options.get(theirs)}


_KINDS: Mapping[str, Callable[[str, Options, Mapping[str, str]], Transport]] = {
    "": _local,
    "file": _local,
    "s3": _s3,
    "gs": _gs,
    "azure": _azure,
    "ssh": _ssh,
    "http": _web,
    "https": _web,
}
