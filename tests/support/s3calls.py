"""Signed calls to an S3 server: for what the product does not ask, and for a stand-in before it."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from tests.support.servers import ACCESS, S3, SECRET

_UNSIGNED = "UNSIGNED-PAYLOAD"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered; the names of `headers` are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def said(self, tag: str) -> str:
        """The text of the first XML element of that name, or nothing."""
        match = re.search(f"<{tag}>([^<]*)</{tag}>", self.body.decode("utf-8", "replace"))
        return match[1] if match else ""


def call(
    server: S3,
    method: str,
    path: str,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> Answer:
    """A request with the server's own keys. `path` is `/bucket/name`, as it is called, not escaped."""
    place = quote(path, safe="/-_.~")
    asked = "&".join(
        f"{quote(k, safe='-_.~')}={quote(v, safe='-_.~')}" for k, v in sorted((query or {}).items())
    )
    when = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    signed = {"host": f"127.0.0.1:{server.port}", "x-amz-content-sha256": _UNSIGNED, "x-amz-date": when}
    names = ";".join(sorted(signed))
    lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
    request = "\n".join((method, place, asked, lines, names, _UNSIGNED))
    scope = f"{when[:8]}/us-east-1/s3/aws4_request"
    text = "\n".join(("AWS4-HMAC-SHA256", when, scope, hashlib.sha256(request.encode()).hexdigest()))
    key = f"AWS4{SECRET}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    sign = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    login = f"AWS4-HMAC-SHA256 Credential={ACCESS}/{scope}, SignedHeaders={names}, Signature={sign}"
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    with contextlib.closing(client):
        everything = {**(headers or {}), **signed, "Authorization": login}
        client.request(method, f"{place}?{asked}" if asked else place, body or None, everything)
        answer = client.getresponse()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())


def make_bucket(server: S3, name: str, *, versions: bool = False) -> None:
    """A bucket; with `versions` it keeps what is written over or removed."""
    made = call(server, "PUT", f"/{name}")
    assert made.status == 200, made
    if versions:
        form = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
        told = call(server, "PUT", f"/{name}", {"versioning": ""}, body=form.encode())
        assert told.status == 200, told
