"""`@dataclass(frozen=True, slots=True)` that costs little to define.

`dataclasses` writes and compiles six methods for each class when it is defined. A program that knows
seventy such classes and runs for a tenth of a second spends a fifth of its time on that. Here classes share
the methods that need no code of their own, a constructor is compiled when its class is first used, and what
`dataclasses.fields`, `replace` and others look at is made when they look.

Type checkers see `dataclasses.dataclass` itself. Not for subclasses, `ClassVar`, `InitVar`, or fields
with options other than `default`, `default_factory`, `compare` and `repr`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(*, frozen: bool, slots: bool) -> Callable[[type], type]:
        """As `dataclasses.dataclass(frozen=True, slots=True)`, and nothing else."""
        if not (frozen and slots):
            raise TypeError("only frozen classes with slots")
        return _define


# What a field has: ("value", its default), ("factory", what makes it), or nothing.
_Default: TypeAlias = tuple[str, Any] | None


def _define(cls: type) -> type:
    names = tuple(cls.__annotations__)
    space = {k: v for k, v in cls.__dict__.items() if k not in ("__dict__", "__weakref__")}
    given = {n: space.pop(n) for n in names if n in space}
    options = {n: d for n, d in given.items() if _is_field(d)}
    compared = _getter(tuple(n for n in names if n not in options or options[n].compare))

    def equal(self: Any, other: Any) -> Any:
        return compared(self) == compared(other) if other.__class__ is self.__class__ else NotImplemented

    def hashed(self: Any) -> int:
        return hash(compared(self))

    def shown(self: Any) -> str:
        parts = (f"{n}={getattr(self, n)!r}" for n in names if n not in options or options[n].repr)
        return f"{type(self).__qualname__}({', '.join(parts)})"

    methods = {"__eq__": equal, "__hash__": hashed, "__repr__": shown}
    space |= {n: m for n, m in methods.items() if space.get(n) is None}
    space |= {
        "__slots__": names,
        "__match_args__": names,
        "__init__": _Late("__init__", lambda made: _constructor(made, names, given)),
        "__dataclass_fields__": _Late("__dataclass_fields__", lambda made: _fields(made, names, given)),
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
        space[f"set_{name}"] = cls.__dict__[name].__set__
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


def _fields(cls: type, names: tuple[str, ...], given: dict[str, Any]) -> dict[str, Any]:
    import dataclasses

    fields = []
    for name in names:
        field = given.get(name, dataclasses.MISSING)
        if not _is_field(field):
            field = dataclasses.field(default=field)
        fields.append((name, cls.__annotations__[name], field))
    made: Any = dataclasses.make_dataclass(cls.__name__, fields)
    return dict(made.__dataclass_fields__)


def _is_field(value: object) -> bool:
    # Where `dataclasses` was never imported there is none.
    module = sys.modules.get("dataclasses")
    return module is not None and isinstance(value, module.Field)


def _default(given: dict[str, Any], name: str) -> _Default:
    if name not in given:
        return None
    value = given[name]
    if not _is_field(value):
        return "value", value
    missing = sys.modules["dataclasses"].MISSING
    if value.default_factory is not missing:
        return "factory", value.default_factory
    return None if value.default is missing else ("value", value.default)


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
