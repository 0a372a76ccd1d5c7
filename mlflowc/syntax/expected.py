"""Where a parse stopped, and what could have stood there, in words that people know."""

from __future__ import annotations

from typing import NamedTuple

from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

_VALUE = {"NAME", "STRING", "NUMBER"}
_ALSO_VALUE = {"LSQB", "LPAR", "MINUS", "NOT", "TRUE", "FALSE", "STAR"}
_OPERATORS = {"PLUS", "MINUS", "STAR", "SLASH", "COMPARE", "AND", "OR", "DOTDOT", "DOT", "LPAR", "LSQB"}
_WORDS = {
    "LBRACE": "`{`",
    "COLON": "`:` and a type",
    "EQUAL": "`=`",
    "COMMA": "`,`",
    "RSQB": "`]`",
    "RPAR": "`)`",
    "COMPARE": "a comparison",
    "STRING": "text in quotes",
    "NUMBER": "a number",
    "DOT": "`.`",
}
_ENDS = {"_SEP", "RBRACE", "$END"}
_SILENT = {"DOTSTAR", "QMARK", "DOT", "LSQB", "LPAR"}


class Stop(NamedTuple):
    """Where a parse stopped: the token's place and text, the terminals that could have stood there.

    `at_end`: the text was over; `text` is empty then.
    """

    start: int
    end: int
    text: str
    accepts: frozenset[str]
    at_end: bool


def stop(error: UnexpectedInput, offset: int, end: int, accepts: frozenset[str]) -> Stop:
    """The stop of a part that was parsed at `offset` of the source and whose own text ends at `end`."""
    if isinstance(error, UnexpectedToken):
        token = error.token
        start = (token.start_pos or 0) + offset
        if token.type == "$END" or start >= end:
            return Stop(end, end, "", accepts, True)
        if not str(token).strip(" \t\r\n"):
            return Stop(start, start, "", accepts, True)
        return Stop(start, start + len(token), str(token), accepts, False)
    assert isinstance(error, UnexpectedCharacters)
    start = (error.pos_in_stream or 0) + offset
    return Stop(start, start + 1, error.char, accepts, False)


def wanted(accepts: frozenset[str], before: str) -> str:
    """What could follow `before`: `a type`, "`=` or the end of the line"."""
    rest, names = set(accepts), []
    if rest >= {"STAGE", "GATE", "ON"}:
        return "a declaration such as `stage`, `data` or `gate`"
    if rest >= _VALUE:
        names.append("a value")
        rest -= _VALUE | _ALSO_VALUE
    elif "NAME" in rest:
        typed = before.endswith((":", "[")) or (before.startswith("type ") and before.endswith("="))
        names.append("a type" if typed else "a name")
        rest.discard("NAME")
    operator = len(rest & _OPERATORS) >= 4
    if operator:
        rest -= _OPERATORS
    rest -= _SILENT
    names += [word for terminal, word in _WORDS.items() if terminal in rest]
    names += sorted(f"`{t.lower()}`" for t in rest - set(_WORDS) - _ENDS if t.isalpha())
    if rest & _ENDS:
        names.append("the end of the line")
    if operator and len(names) < 3:
        names.append("an operator")
    names = names[:5]
    if not names:
        return "something else"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
