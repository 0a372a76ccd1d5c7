"""The tokens of this process, for all transfers that it makes: as much its own as its environment is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mlflowc.ir.identity import provider_of

if TYPE_CHECKING:
    from mlflowc.runtime.identity.held import Held

_held: list[Held] = []


@contextlib.contextmanager
def using(held: Held) -> Iterator[Held]:
    """Transfers of this process come as `held` says."""
    with held:
        _held.append(held)
        try:
            yield held
        finally:
            _held.remove(held)


def at(scheme: str) -> tuple[str, Held] | None:
    """The provider of addresses `scheme://…`, and who has credentials there; None where nobody has."""
    provider = provider_of(f"{scheme}://")
    if provider is None or not _held or not _held[-1].has(provider):
        return None
    return provider, _held[-1]
