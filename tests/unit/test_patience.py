"""How often sources are asked again, and how long after."""

from __future__ import annotations

import pytest

from mlflowc.errors import Failure
from mlflowc.runtime.remotes.transport import RemoteError
from mlflowc.sources import retry
from mlflowc.sources.retry import Patience, again


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Nobody sleeps; how long it would have been."""
    found: list[float] = []
    monkeypatch.setattr(retry.time, "sleep", found.append)
    return found


def test_pauses_grow_and_end(pauses: list[float]) -> None:
    patience = Patience(tries=9)
    while not patience.spent:
        patience.wait()
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_a_server_is_waited_for_as_it_asks_but_not_for_an_hour(pauses: list[float]) -> None:
    patience = Patience()
    patience.wait(0)
    patience.wait(7)
    patience.wait(3600)
    assert pauses == [0, 7, 30]
    assert not patience.spent
    patience.wait()
    assert pauses[-1] == 4 and patience.spent


def test_what_comes_further_is_gone_on_with(pauses: list[float]) -> None:
    done = 0

    def ask() -> str:
        nonlocal done
        done += 1
        if done < 20:
            raise RemoteError("cut", transient=True)
        return "all"

    assert again("feed", ask, lambda: done) == "all"
    assert pauses == [0.5] * 19


def test_what_gets_nowhere_is_given_up(pauses: list[float]) -> None:
    def ask() -> str:
        raise RemoteError("cut", transient=True)

    with pytest.raises(Failure, match="feed: cut"):
        again("feed", ask)
    assert pauses == [0.5, 1, 2, 4]


def test_what_will_not_pass_is_not_asked_for_again(pauses: list[float]) -> None:
    def ask() -> str:
        raise RemoteError("no such bucket", transient=False)

    with pytest.raises(Failure, match="no such bucket"):
        again("feed", ask)
    assert pauses == []
