"""A CI service's OIDC: an issuer of tokens with its public keys, and what GitHub's runner asks for tokens.

Tokens are real ones (RS256), so a real server can judge them by the issuer's keys.
"""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

REQUEST_TOKEN = "request-token-of-this-job"


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _number(value: int) -> str:
    return _text(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def claims(token: str) -> dict[str, Any]:
    """What a token says."""
    part = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


@dataclass
class Issuer:
    """`url` is who it says it is. `given` are the tokens that were asked for, in order."""

    key: rsa.RSAPrivateKey
    url: str = ""
    subject: str = "repo:acme/churn:ref:refs/heads/main"
    lifetime: float = 300.0
    given: list[str] = field(default_factory=list)
    refused: int = 0

    def token(self, audience: str, *, subject: str | None = None, lifetime: float | None = None) -> str:
        """A token as the service signs it."""
        now = time.time()
        life = self.lifetime if lifetime is None else lifetime
        said = {
            "iss": self.url,
            "aud": audience,
            "sub": subject or self.subject,
            "iat": int(now),
            "exp": int(now + life),
            "jti": f"{len(self.given)}-{now}",
        }
        head = {"alg": "RS256", "typ": "JWT", "kid": "one"}
        body = ".".join(_text(json.dumps(part).encode()) for part in (head, said))
        signed = self.key.sign(body.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{body}.{_text(signed)}"

    @property
    def keys(self) -> dict[str, Any]:
        """Its public keys."""
        numbers = self.key.public_key().public_numbers()
        key = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "one"}
        return {"keys": [{**key, "n": _number(numbers.n), "e": _number(numbers.e)}]}

    def github(self) -> dict[str, str]:
        """What a job of GitHub with `id-token: write` finds in its environment."""
        return {
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{self.url}/token?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": REQUEST_TOKEN,
        }


@contextlib.contextmanager
def issuer() -> Iterator[Issuer]:
    """An issuer at a random port of this machine."""
    made = Issuer(rsa.generate_private_key(public_exponent=65537, key_size=2048))

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path == "/token":
                if self.headers.get("Authorization") not in (
                    f"bearer {REQUEST_TOKEN}",
                    f"Bearer {REQUEST_TOKEN}",
                ):
                    made.refused += 1
                    self._say({"message": "no"}, 401)
                    return
                token = made.token(parse_qs(parts.query)["audience"][0])
                made.given.append(token)
                self._say({"value": token})
            elif parts.path == "/keys":
                self._say(made.keys)
            elif parts.path == "/.well-known/openid-configuration":
                self._say({"issuer": made.url, "jwks_uri": f"{made.url}/keys"})
            else:
                self._say({}, 404)

        def _say(self, value: Any, status: int = 200) -> None:
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
