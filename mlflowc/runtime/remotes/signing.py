"""Signatures of results in a remote: Ed25519, over the record, its key and the namespace that it is in.

A signature says: whoever has this key made that result, for that key, in that namespace. What a record
names is bound by its hashes. Where the small files are is not signed: it is a hint, which only leads to
contents with the right hashes, and clearing up changes it.

    ed25519:BASE64                  a public key, 32 bytes; stands in the `cache` block
    mlpipe-secret-ed25519:BASE64    the secret one, a file of one line or the variable MLPIPEC_SIGNING_KEY
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mlflowc import extras
from mlflowc.errors import Failure
from mlflowc.frozen import dataclass

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

VARIABLE, FILE_VARIABLE = "MLPIPEC_SIGNING_KEY", "MLPIPEC_SIGNING_KEY_FILE"
_PUBLIC, _SECRET = "ed25519:", "mlpipe-secret-ed25519:"
_DEFAULT = "~/.config/mlpipec/signing-key"


@dataclass(frozen=True, slots=True)
class Signer:
    """A secret key. It is not shown anywhere."""

    public: str
    _key: Ed25519PrivateKey

    def sign(self, namespace: str, key: str, record: bytes) -> str:
        """The signature of a record, in Base64."""
        return base64.b64encode(self._key.sign(_message(namespace, key, record))).decode()

    def sign_envelope(self, encoded: bytes) -> str:
        """The signature of a DSSE envelope, in Base64; `encoded` says what it is at its beginning."""
        assert encoded.startswith(b"DSSEv1 ")
        return base64.b64encode(self._key.sign(encoded)).decode()


@dataclass(frozen=True, slots=True)
class Demand:
    """Which signatures a reader believes. With `required`, a record in one of `namespaces` needs one."""

    keys: tuple[str, ...] = ()
    required: bool = False
    namespaces: tuple[str, ...] = ("trusted",)

    def objection(self, namespace: str, key: str, record: bytes, signatures: Mapping[str, str]) -> str | None:
        """Why the record is not believed; None when it is.

        A wrong signature by a known key is never believed, one by a key that is not known is none.
        """
        if not self.keys:
            return None
        known = {k: s for k, s in signatures.items() if k in self.keys}
        if known and all(verifies(k, s, namespace, key, record) for k, s in known.items()):
            return None
        if known:
            return "its signature is wrong"
        if not self.required or namespace not in self.namespaces:
            return None
        return "it is signed by a key that is not known" if signatures else "it is not signed"


NOTHING = Demand()


def new() -> tuple[str, str]:
    """A new key: its secret and its public text. Raises `Failure` when there is nothing to make one with."""
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # slow to import
    except ModuleNotFoundError as e:
        raise _lacking(e) from None
    made = Ed25519PrivateKey.generate()
    return _SECRET + base64.b64encode(made.private_bytes_raw()).decode(), _public(made)


def default_file(env: Mapping[str, str] = os.environ) -> Path:
    """Where the secret key is kept when nothing else is said."""
    return Path(env.get(FILE_VARIABLE) or _DEFAULT).expanduser()


def signer(env: Mapping[str, str] = os.environ) -> Signer | None:
    """The secret key of this process, from the variable or the file; None without one. Raises `Failure`."""
    text = env.get(VARIABLE, "")
    source = f"`{VARIABLE}`"
    if not text:
        path = default_file(env)
        source = f"`{path}`"
        try:
            text = path.read_text()
        except FileNotFoundError:
            if env.get(FILE_VARIABLE):
                raise Failure(f"there is no signing key at {source}, which `{FILE_VARIABLE}` names") from None
            return None
        except (OSError, UnicodeDecodeError) as e:
            raise Failure(f"the signing key at {source} cannot be read: {e}") from None
        _closed(path)
    return _parse(text.strip(), source)


def lacking(namespace: str, made: Signer | None, *, person: bool) -> Failure:
    """The failure of who may write to `namespace` and has no key, or none of those that count there."""
    if made is None:
        which = "there is no signing key here"
        help = (
            f"give the secret key in `{VARIABLE}` or in `{default_file()}`; `mlpipec cache key new` makes "
            "one, and who maintains `keys` in the `cache` block has to add it"
        )
    else:
        which = f"the signing key here is `{made.public}`"
        help = "who maintains `keys` in the `cache` block has to add it"
    if person:
        help += "; `write = trusted` there keeps a person's runs from pushing"
    return Failure(
        f"results in `{namespace}` count only when they are signed by a key of `keys`, and {which}: "
        "nothing is pushed, and the results stay here",
        help=help,
    )


def verifies(public: str, signature: str, namespace: str, key: str, record: bytes) -> bool:
    """Whether that is a signature of the record by that key."""
    return _verifies(public, signature, _message(namespace, key, record))


def verifies_envelope(public: str, signature: str, encoded: bytes) -> bool:
    """Whether that is a signature of a DSSE envelope by that key."""
    return encoded.startswith(b"DSSEv1 ") and _verifies(public, signature, encoded)


def is_public(text: str) -> bool:
    """Whether `text` is a public key."""
    try:
        return text.startswith(_PUBLIC) and len(base64.b64decode(text[len(_PUBLIC) :], validate=True)) == 32
    except ValueError:
        return False


def _verifies(public: str, signature: str, message: bytes) -> bool:
    try:
        from cryptography.exceptions import InvalidSignature  # slow to import
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ModuleNotFoundError as e:
        raise _lacking(e) from None
    try:
        raw = base64.b64decode(public.removeprefix(_PUBLIC), validate=True)
        made = base64.b64decode(signature, validate=True)
        Ed25519PublicKey.from_public_bytes(raw).verify(made, message)
    except (ValueError, InvalidSignature):
        return False
    return True


def _message(namespace: str, key: str, record: bytes) -> bytes:
    # What comes first says what is signed, so that no signature for anything else can stand here.
    return b"mlpipe-record 1\n" + namespace.encode() + b"\n" + key.encode() + b"\n" + record


def _parse(text: str, source: str) -> Signer:
    help = "make one with `mlpipec cache key new`"
    if text.startswith(_PUBLIC):
        raise Failure(f"{source} holds a public key, and signing needs the secret one", help=help)
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # slow to import

        if not text.startswith(_SECRET):
            raise ValueError
        raw = base64.b64decode(text.removeprefix(_SECRET), validate=True)
        key = Ed25519PrivateKey.from_private_bytes(raw)
    except ValueError:
        raise Failure(f"{source} holds no signing key", help=help) from None
    except ModuleNotFoundError as e:
        raise _lacking(e) from None
    return Signer(_public(key), key)


def _lacking(e: ModuleNotFoundError) -> Failure:
    return Failure(f"signatures need `{e.name}`, which is not installed", help=extras.install("remote"))


def _public(key: Ed25519PrivateKey) -> str:
    return _PUBLIC + base64.b64encode(key.public_key().public_bytes_raw()).decode()


def _closed(path: Path) -> None:
    """Refuses a key that others on this machine can read."""
    if path.stat().st_mode & 0o077:
        raise Failure(
            f"the signing key `{path}` can be read by others on this machine", help=f"chmod 600 '{path}'"
        )
