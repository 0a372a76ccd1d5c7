"""Whole programs at random: every construct of the grammar, in every layout that it allows."""

from __future__ import annotations

import dataclasses
from typing import Any

from hypothesis import strategies as st

_WORDS = [
    "a",
    "train",
    "lr",
    "raw",
    "data",
    "report",
    "env",
    "stage",
    "Big",
    "x1",
    "rows",
    "metrics",
    "text_2",
]
_NUMBERS = ["0", "1_000", "0.5", "1e-5", "2.5E+3", "30s", "15m", "16GiB", "512MiB", "5%", "0.5h"]
_STRINGS = [
    '"plain"', '""', '"a \\"quoted\\" # word"', '"{{raw}} {{ x }}"', '"tab\\t"', '"é – ü"', '"""one line"""',
    '"""\n  two\n    lines # no comment\n  """', '"""\n\n"""', '"long ' + "word " * 20 + '"',
]  # fmt: skip

names = st.sampled_from(_WORDS)
strings = st.sampled_from(_STRINGS)
dotted = st.lists(names, min_size=1, max_size=3).map(".".join)
starred = st.one_of(dotted, dotted.map(lambda d: d + ".*"))


def _join(*parts: Any) -> st.SearchStrategy[str]:
    """The parts (text or strategies of text) one behind the other."""
    return st.tuples(*(st.just(p) if isinstance(p, str) else p for p in parts)).map("".join)


def _maybe(*parts: Any) -> st.SearchStrategy[str]:
    return st.one_of(st.just(""), _join(*parts))


_gap = st.sampled_from(["", " ", "\n", "\n    ", " \n\n "])


@st.composite
def _listed(draw: st.DrawFn, element: st.SearchStrategy[str], brackets: str, most: int = 3) -> str:
    """Elements between brackets and commas, with line breaks where they may be."""
    items = draw(st.lists(element, max_size=most))
    text = brackets[0] + draw(_gap)
    for n, item in enumerate(items):
        text += item + draw(_gap)
        if n + 1 < len(items) or draw(st.booleans()):
            text += "," + draw(_gap)
    return text + brackets[1]


@st.composite
def _block(draw: st.DrawFn, item: st.SearchStrategy[str], most: int = 4) -> str:
    """Items between braces, parted by commas or line breaks or both."""
    items = draw(st.lists(item, max_size=most))
    text = "{" + draw(_gap)
    for n, each in enumerate(items):
        text += each
        if n + 1 < len(items):
            text += draw(st.sampled_from([", ", "\n", ",\n", "\n\n\n   ", "\n, ", " \n"]))
    return text + draw(st.sampled_from(["", " ", "\n", ",\n"] if items else ["", " ", "\n"])) + "}"


_unary_operand = st.deferred(lambda: _postfix)


def _extend(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    argument = st.one_of(inner, _join(names, "=", inner))
    return st.one_of(
        _listed(inner, "[]"),
        _join("(", inner, ")"),
        _join(names, _listed(argument, "()")),
        _join("(", inner, ").", names),
        _join("(", inner, ")[", st.one_of(st.just("*"), inner), "]"),
        _join(
            "(",
            inner,
            ")",
            st.sampled_from([" + ", "-", " * ", "/", " <= ", "==", "\nand ", " or\n  "]),
            "(",
            inner,
            ")",
        ),
        _join(st.sampled_from(["-", "not "]), "(", inner, ")"),
    )


_numbers = st.sampled_from(_NUMBERS)
_leaf = st.one_of(
    names,
    dotted,
    strings,
    _numbers,
    st.sampled_from(["true", "false", "0..120", "-1..x.y", "a+b*c", "not a and b"]),
)
_postfix = st.one_of(names, dotted)
expressions = st.recursive(_leaf, _extend, max_leaves=6)
_sums = st.one_of(
    _numbers, names, strings, st.just("0..120"), _listed(strings, "[]"), _listed(_numbers, "[]")
)
_constraint = st.one_of(
    st.just(" unique"), _join(" in ", _sums), _join(" matches ", strings), _join(" null <= ", _numbers)
)
_constraints = st.lists(_constraint, max_size=2).map("".join)


def _type_of(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    column = st.one_of(
        _join(dotted, ": ", inner, _constraints), _join(names, ">=", _numbers), _join("rows in ", _sums)
    )
    return st.one_of(
        _join(names, _listed(st.one_of(inner, st.just('"x"')), "[]").filter(lambda t: t.strip("[] \n"))),
        _join(names, " ", _block(column)),
        _join(names, "?"),
    )


types = st.recursive(dotted, _type_of, max_leaves=4)
_setting = _join(dotted, st.sampled_from([" = ", "=", "   =\n  "]), expressions)
_nested = _join(names, " ", _block(_setting, 2))
_settings = _block(st.one_of(_setting, _nested))
_value = _join(" = ", expressions)
_steps = _block(
    st.one_of(
        _setting,
        _nested,
        _join("in ", dotted, _maybe(": ", types), _maybe(_value)),
        _join("out ", names, _maybe(":", types), _value),
        _join("keep ", names, _value),
        _join("param ", starred, _maybe(": ", types, _constraints), _maybe(_value)),
        _join("param ", starred, ", ", starred, ",\n", starred),
    ),
    6,
)
_each = st.lists(_join(" each ", names, " in ", expressions), max_size=2).map("".join)
_args = _listed(st.one_of(expressions, _join(names, " = ", expressions)), "()")

declarations = st.one_of(
    _join("pipeline ", names),
    _join("use ", strings, _maybe(" as ", names)),
    _join("params ", strings, _maybe(" ", _block(_join(dotted, ": ", types, _constraints)))),
    _join("param ", dotted, _maybe(": ", types, _constraints), _maybe(_value)),
    _join("type ", names, " = ", types),
    _join("data ", names, _maybe(": ", types), _value),
    _join("secret ", names),
    _join(st.sampled_from(["cache", "ci"]), " ", _settings),
    _join(st.sampled_from(["env", "runner", "auth"]), " ", names, " ", _settings),
    _join(st.sampled_from(["component", "action"]), " ", names, " ", _steps),
    _join("stage ", names, _each, " ", _steps),
    _join("stage ", names, _each, " = ", dotted, _maybe(" ", _settings)),
    _join(
        "gate ",
        names,
        " ",
        _block(st.one_of(_setting, _join("require ", expressions, _maybe(" else ", expressions)))),
    ),
    _join(
        "report ",
        names,
        " ",
        _block(
            st.one_of(
                _setting,
                _join(
                    names,
                    _maybe(" ", st.one_of(dotted, strings)),
                    _maybe(" vs ", strings),
                    _maybe(" ", _settings),
                ),
            )
        ),
    ),
    _join(
        "sweep ",
        names,
        " over ",
        dotted,
        " ",
        _block(st.one_of(_setting, _join("vary ", dotted, " in ", expressions))),
    ),
    _join(
        "on ",
        names,
        _maybe(_args),
        " ",
        _block(
            st.one_of(_setting, _nested, _join("input ", dotted, ": ", types, _constraints, _maybe(_value)))
        ),
    ),
)


@st.composite
def programs(draw: st.DrawFn) -> str:
    """A program that parses."""
    text = draw(st.sampled_from(["", "\n", "# head\n\n"])) + "mlpipe 1\n"
    for declaration in draw(st.lists(declarations, max_size=5)):
        text += declaration + draw(st.sampled_from(["\n", "\n\n", "\n\n\n\n", "  \n"]))
    return text


@st.composite
def commented(draw: st.DrawFn) -> tuple[str, int]:
    """A program with comments at random ends of lines, and how many."""
    lines = draw(programs()).split("\n")
    count = 0
    quotes = 0
    for n, line in enumerate(lines):
        quotes += line.count('"""')
        if quotes % 2:
            continue  # inside a text of several lines
        style = draw(st.sampled_from(["", "", "", " # c", "\n# c", "\n    #c"]))
        if style and not line.lstrip().startswith("#"):
            lines[n] = line + style + str(count)
            count += 1
    return "\n".join(lines), count + any(line == "# head" for line in lines)


def bare(node: Any) -> Any:
    """A tree without its places and comments, to compare."""
    if dataclasses.is_dataclass(node) and not isinstance(node, type):
        fields = [f.name for f in dataclasses.fields(node) if "span" not in f.name and f.name != "comments"]
        return (type(node).__name__, *(bare(getattr(node, f)) for f in fields))
    if isinstance(node, tuple):
        return tuple(bare(n) for n in node)
    return node
