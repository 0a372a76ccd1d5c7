"""Our frozen classes behave as those of `dataclasses`."""

from __future__ import annotations

import copy
import dataclasses
import functools
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, field
from typing import Any

import pytest

from mlflowc import frozen
from mlflowc.ir import model


@frozen.dataclass(frozen=True, slots=True)
class Ours:
    """One of ours."""

    a: int
    b: str = "b"
    c: dict[str, int] = field(default_factory=dict, compare=False)
    d: float = field(default=1.5, repr=False)

    @property
    def doubled(self) -> int:
        """Methods stay."""
        return self.a * 2


@dataclasses.dataclass(frozen=True, slots=True)
class Theirs:
    """The same."""

    a: int
    b: str = "b"
    c: dict[str, int] = field(default_factory=dict, compare=False)
    d: float = field(default=1.5, repr=False)

    @property
    def doubled(self) -> int:
        """Methods stay."""
        return self.a * 2


@frozen.dataclass(frozen=True, slots=True)
class OursByOurField:
    """The same with our own `field`."""

    a: int
    b: str = "b"
    c: dict[str, int] = frozen.field(default_factory=dict, compare=False)
    d: float = frozen.field(default=1.5, repr=False)

    @property
    def doubled(self) -> int:
        """Methods stay."""
        return self.a * 2


@frozen.dataclass(slots=True)
class OursToSet:
    """A mutable one."""

    a: int
    b: str = "b"
    c: dict[str, int] = frozen.field(default_factory=dict, compare=False)
    d: float = frozen.field(default=1.5, repr=False)

    def __post_init__(self) -> None:
        self.a += 1

    @property
    def doubled(self) -> int:
        """Methods stay."""
        return self.a * 2


@dataclasses.dataclass(slots=True)
class TheirsToSet:
    """The same."""

    a: int
    b: str = "b"
    c: dict[str, int] = field(default_factory=dict, compare=False)
    d: float = field(default=1.5, repr=False)

    def __post_init__(self) -> None:
        self.a += 1

    @property
    def doubled(self) -> int:
        """Methods stay."""
        return self.a * 2


@frozen.dataclass(slots=False)
class OursWithRoom:
    """With a dictionary for what is worked out once."""

    a: int
    b: list[int] = frozen.field(default_factory=list)

    @functools.cached_property
    def doubled(self) -> int:
        """Kept."""
        return self.a * 2


@frozen.dataclass(frozen=True, slots=True)
class OneField:
    """`planner` has options and no default."""

    planner: object = field(compare=True, repr=False)


@frozen.dataclass(frozen=True, slots=True)
class NoField:
    """Nothing in it."""


SEEN: dict[str, Callable[[Any], object]] = {
    "defaults": lambda cls: (cls(1).b, cls(1).c, cls(1).d, cls(1).doubled),
    "a new default each time": lambda cls: cls(1).c is cls(1).c,
    "by name": lambda cls: cls(b="x", a=2, c={"y": 1}, d=0.0).c,
    "too few": lambda cls: cls(),
    "an unknown name": lambda cls: cls(1, e=2),
    "equal": lambda cls: (cls(1) == cls(1, c={"x": 1}), cls(1) == cls(2), cls(1) == (1,), cls(1) != cls(1)),
    "one hash": lambda cls: len({cls(1), cls(1, c={"x": 1}), cls(2)}),
    "shown": lambda cls: repr(cls(1, "x")).partition("(")[2],
    "fields": lambda cls: [
        (f.name, f.type, f.default, f.default_factory, f.compare, f.repr) for f in dataclasses.fields(cls)
    ],
    "is one": lambda cls: (dataclasses.is_dataclass(cls), dataclasses.is_dataclass(cls(1))),
    "replaced": lambda cls: dataclasses.replace(cls(1), b="y").b,
    "replaced by ours": lambda cls: frozen.replace(cls(1), b="y") == dataclasses.replace(cls(1), b="y"),
    "an unknown one replaced": lambda cls: frozen.replace(cls(1), e="y"),
    "set at will": lambda cls: set_and_get(cls(1)),
    "hash": lambda cls: cls.__hash__ is None,
    "as a dictionary": lambda cls: dataclasses.asdict(cls(1)),
    "slots": lambda cls: (cls.__slots__, cls.__match_args__, hasattr(cls(1), "__dict__")),
    "set": lambda cls: setattr(cls(1), "a", 2),
    "deleted": lambda cls: delattr(cls(1), "a"),
    "copied": lambda cls: copy.deepcopy(cls(1, c={"x": 1})).c,
    "pickled": lambda cls: (pickle.loads(pickle.dumps(cls(1))) == cls(1), cls.__qualname__ == cls.__name__),
    "annotations": lambda cls: (cls.__annotations__, cls.__init__.__annotations__),
}


def set_and_get(value: Any) -> object:
    """The value after a field was set."""
    value.a = 5
    return value.a, value.doubled


@pytest.mark.parametrize("what", SEEN)
@pytest.mark.parametrize(
    "classes", [(Ours, Theirs), (OursByOurField, Theirs), (OursToSet, TheirsToSet)], ids=str
)
def test_it_does_what_dataclasses_do(what: str, classes: tuple[type, type]) -> None:
    outcomes: list[object] = []
    for cls in classes:
        try:
            outcomes.append((SEEN[what](cls), None))
        except (TypeError, AttributeError) as e:
            outcomes.append((None, (type(e), str(e).replace(cls.__name__, ""))))
    assert outcomes[0] == outcomes[1]


def test_what_is_worked_out_once_is_kept_where_there_is_room() -> None:
    made = OursWithRoom(2)
    assert (made.doubled, made.b) == (4, [])
    made.a = 3
    assert (made.doubled, made.a) == (4, 3)
    assert made == OursWithRoom(3)


def test_one_field_and_none() -> None:
    assert OneField(1) == OneField(1) != OneField(2)
    assert repr(OneField(1)) == "OneField()"
    assert NoField() == NoField()
    assert hash(NoField()) == hash(NoField())
    with pytest.raises(FrozenInstanceError):
        OneField(1).planner = 2  # type: ignore[misc]
    with pytest.raises(TypeError, match="slots"):
        frozen.dataclass(frozen=True, slots=False)


def test_patterns_match_by_position() -> None:
    match Ours(1, "x"):
        case Ours(a, b):
            assert (a, b) == (1, "x")
        case _:
            pytest.fail("it did not match")


def test_the_pipeline_is_made_of_them() -> None:
    assert type(model.Stage.__dict__["__eq__"]).__name__ == "function"
    assert model.Stage.__eq__.__module__ == "mlflowc.frozen"
    assert dataclasses.fields(model.Stage)[0].name == "id"
