"""`@dataclass(frozen=True, slots=True)`, also without these, that costs little to define.

`dataclasses` writes and compiles six methods for each class when it is defined. A program that knows
seventy such classes and runs for a tenth of a second spends a fifth of its time on that. Here classes share
the methods that need no code of their own, a constructor is compiled when its class is first used, and what
`dataclasses.fields` and others look at is made when they look. `field` and `replace` are here, too, for
`dataclasses` itself takes as long to import as a small command takes to run. Of a class that `may_be_late`
there can be values whose fields are made when they are asked for: see `late`.

Type checkers see those of `dataclasses`. Not for subclasses, `ClassVar`, `InitVar`, or fields with options
other than `default`, `default_factory`, `compare` and `repr`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeAlias, TypeVar

_NOTHING: Any = object()

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
    from dataclasses import field as field
    from dataclasses import replace as replace
else:

    def dataclass(*, slots: bool, frozen: bool = False) -> Callable[[type], type]:
        """As `dataclasses.dataclass` with these two, and nothing else."""
        if frozen and not slots:
            raise TypeError("what is frozen has slots")
        return lambda cls: _define(cls, frozen, slots)

    def field(
        *,
        default: Any = _NOTHING,
        default_factory: Any = _NOTHING,
        compare: bool = True,
        repr: bool = True,
    ) -> Any:
        """As `dataclasses.field` with these options."""
        return _Field(default, default_factory, compare, repr)

    def replace(value: Any, /, **changes: Any) -> Any:
        """As `dataclasses.replace`."""
        return type(value)(**{n: getattr(value, n) for n in value.__match_args__} | changes)


_MAY = "_may_be_late"
_Class = TypeVar("_Class", bound=type)
_Made = TypeVar("_Made")


def may_be_late(cls: _Class) -> _Class:
    """Before `dataclass`: says that `late` may make values of this class."""
    setattr(cls, _MAY, True)
    return cls


def late(
    cls: type[_Made],
    known: Sequence[Any],
    make: Callable[[Any, str], Iterable[tuple[str, Any]]],
    source: Any,
) -> _Made:
    """A value of `cls` with the first fields as `known`, and the others made when one is asked for.

    `make` is given `source` and a name, and gives names and values: that one, and whichever others it likes.
    Asked twice (by two threads) it has to give equal values. Nothing else tells this value from others.
    """
    made = cls.__new__(cls)
    setters: dict[str, Callable[[Any, Any], None]] = cls._setters  # type: ignore[attr-defined]
    for set_field, value in zip(setters.values(), known, strict=False):
        set_field(made, value)
    setters["_late"](made, (make, source))
    return made


def _setters_of(cls: Any) -> dict[str, Callable[[Any, Any], None]]:
    return {name: cls.__dict__[name].__set__ for name in (*cls.__match_args__, "_late")}


def _missing(self: Any, name: str) -> Any:
    """`__getattr__`: a field that was not made yet; all that is made has its place in a slot."""
    if name not in self.__match_args__:
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
    make, source = self._late
    setters = self._setters
    found = None
    for other, value in make(source, name):
        setters[other](self, value)
        if other == name:
            found = value
    return found


# What a field has: ("value", its default), ("factory", what makes it), or nothing.
_Default: TypeAlias = tuple[str, Any] | None


class _Field(NamedTuple):
    default: Any
    default_factory: Any
    compare: bool
    repr: bool


def _define(cls: type, frozen: bool, slots: bool) -> type:
    names = tuple(cls.__annotations__)
    space = {k: v for k, v in cls.__dict__.items() if k not in ("__dict__", "__weakref__")}
    given = {n: _simple(space.pop(n)) for n in names if n in space}
    options = {n: d for n, d in given.items() if isinstance(d, _Field)}
    compared = _getter(tuple(n for n in names if n not in options or options[n].compare))

    def equal(self: Any, other: Any) -> Any:
        return compared(self) == compared(other) if other.__class__ is self.__class__ else NotImplemented

    def hashed(self: Any) -> int:
        return hash(compared(self))

    def shown(self: Any) -> str:
        parts = (f"{n}={getattr(self, n)!r}" for n in names if n not in options or options[n].repr)
        return f"{type(self).__qualname__}({', '.join(parts)})"

    methods = {"__eq__": equal, "__hash__": hashed if frozen else None, "__repr__": shown}
    space |= {n: m for n, m in methods.items() if space.get(n) is None}
    space |= {
        "__match_args__": names,
        "__init__": _Late("__init__", lambda made: _constructor(made, names, given)),
        "__dataclass_fields__": _Late("__dataclass_fields__", lambda made: _fields(made, names, given)),
    }
    if space.pop(_MAY, False):
        space |= {
            "__slots__": (*names, "_late"),
            "__getattr__": _missing,
            "_setters": _Late("_setters", _setters_of),
        }
    elif slots:
        space["__slots__"] = names
    if frozen:
        space |= {
            "__setattr__": _refuse_set,
            "__delattr__": _refuse_delete,
            "__getstate__": _state,
            "__setstate__": _set_state,
        }
    made = type(cls)(cls.__name__, cls.__bases__, space)
    made.__qualname__ = cls.__qualname__
    return made


class _Late:
    """An attribute of a class that is made when it is first asked for."""

    def __init__(self, name: str, make: Callable[[type], Any]) -> None:
        self._name = name
        self._make = make

    def __get__(self, instance: Any, owner: type) -> Any:
        value = self._make(owner)
        setattr(owner, self._name, value)
        return value.__get__(instance, owner) if instance is not None and callable(value) else value


def _constructor(cls: type, names: tuple[str, ...], given: dict[str, Any]) -> Any:
    space: dict[str, Any] = {"missing": object()}
    parameters, lines = ["self"], []
    for name in names:
        # The slot's own setter: `__setattr__` refuses, and this is the quicker way past it.
        slot = cls.__dict__.get(name)
        space[f"set_{name}"] = slot.__set__ if slot else _setter(name)
        default, value = _default(given, name), name
        if default is None:
            parameters.append(name)
        elif default[0] == "value":
            space[f"of_{name}"] = default[1]
            parameters.append(f"{name}=of_{name}")
        else:
            space[f"of_{name}"] = default[1]
            parameters.append(f"{name}=missing")
            value = f"of_{name}() if {name} is missing else {name}"
        lines.append(f" set_{name}(self, {value})\n")
    if hasattr(cls, "__post_init__"):
        lines.append(" self.__post_init__()\n")
    exec(f"def __init__({', '.join(parameters)}):\n{''.join(lines) or ' pass'}", space)
    made = space["__init__"]
    made.__annotations__ = {**cls.__annotations__, "return": None}
    made.__module__, made.__qualname__ = cls.__module__, f"{cls.__qualname__}.__init__"
    return made


def _setter(name: str) -> Callable[[Any, Any], None]:
    return lambda self, value: setattr(self, name, value)


def _fields(cls: type, names: tuple[str, ...], given: dict[str, Any]) -> dict[str, Any]:
    import dataclasses

    def given_as(value: Any) -> Any:
        return dataclasses.MISSING if value is _NOTHING else value

    fields = []
    for name in names:
        said = given.get(name, _NOTHING)
        if not isinstance(said, _Field):
            said = _Field(said, _NOTHING, compare=True, repr=True)
        field: Any = dataclasses.field
        default, factory = given_as(said.default), given_as(said.default_factory)
        made = field(default=default, default_factory=factory, compare=said.compare, repr=said.repr)
        fields.append((name, cls.__annotations__[name], made))
    table: Any = dataclasses.make_dataclass(cls.__name__, fields)
    return dict(table.__dataclass_fields__)


def _simple(value: Any) -> Any:
    """What `dataclasses.field` gave as one of ours; anything else as it is."""
    # Where `dataclasses` was never imported there is none.
    module = sys.modules.get("dataclasses")
    if module is None or not isinstance(value, module.Field):
        return value
    default, factory = (
        _NOTHING if v is module.MISSING else v for v in (value.default, value.default_factory)
    )
    return _Field(default, factory, value.compare, value.repr)


def _default(given: dict[str, Any], name: str) -> _Default:
    if name not in given:
        return None
    value = given[name]
    if not isinstance(value, _Field):
        return "value", value
    if value.default_factory is not _NOTHING:
        return "factory", value.default_factory
    return None if value.default is _NOTHING else ("value", value.default)


def _getter(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) > 1:
        return attrgetter(*names)
    # `attrgetter` of one name gives its bare value.
    return lambda self: tuple(getattr(self, n) for n in names)


def _refuse_set(self: Any, name: str, value: object) -> NoReturn:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_delete(self: Any, name: str) -> NoReturn:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _state(self: Any) -> list[Any]:
    return [getattr(self, n) for n in self.__match_args__]


def _set_state(self: Any, state: list[Any]) -> None:
    for name, value in zip(self.__match_args__, state, strict=True):
        object.__setattr__(self, name, value)
