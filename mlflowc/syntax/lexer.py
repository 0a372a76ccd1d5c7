"""What stands between lark's lexer and its parser: line breaks and commas become separators.

Inside braces and at the top level a line break separates; inside `(` and `[`, and behind an operator, it
is only space. A comma separates inside braces as a line break does, and stays a comma elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator

from lark import Token

# Nothing that a person writes is deeper; a parse that goes deeper would end in a RecursionError behind it.
MAX_DEPTH = 100

_OPENING = {"LBRACE", "LPAR", "LSQB"}
_CLOSING = {"RBRACE", "RPAR", "RSQB"}
# A line that ends with one of these goes on in the next line.
_GOES_ON = {
    "COMPARE",
    "PLUS",
    "MINUS",
    "STAR",
    "SLASH",
    "DOTDOT",
    "EQUAL",
    "COLON",
    "AND",
    "OR",
    "NOT",
    "ELSE",
    "DOT",
}


# Each of these makes the tree a level deeper: `a + b + c` is `(a + b) + c`.
_DEEPER = {"PLUS", "MINUS", "STAR", "SLASH", "AND", "OR", "NOT", "DOT"}
MAX_OPERATORS = 150


class TooDeepError(Exception):
    """Brackets are nested deeper than `MAX_DEPTH`, or (`operators`) more than `MAX_OPERATORS` operators make
    one expression; `token` is the one that goes too far."""

    def __init__(self, token: Token, *, operators: bool) -> None:
        super().__init__("nested too deep")
        self.token = token
        self.operators = operators


class Separators:
    """lark's `postlex`: a filter over the stream of tokens. It never looks ahead, since the contextual
    lexer cuts the next token in the state that the parser is in by then."""

    always_accept = ("_NL", "COMMA")

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        brackets: list[str] = []
        outside: list[int] = []  # for each open bracket, the operators before it
        operators = 0
        last = ""  # the type of the token before, "," and "\n" for the two kinds of separator
        for token in stream:
            kind = token.type
            if kind == "_NL":
                if (brackets and brackets[-1] != "LBRACE") or last in _GOES_ON or last in (",", "\n"):
                    continue
                token.type, kind = "_SEP", "\n"
                operators = outside[-1] if outside else 0
            elif kind == "COMMA" and brackets and brackets[-1] == "LBRACE":
                if last == "\n":
                    last = ","
                    continue
                if last not in (",", "LBRACE"):
                    token.type, kind = "_SEP", ","
                operators = outside[-1]
            elif kind == "COMMA":
                operators = outside[-1] if outside else 0
            elif kind in _OPENING:
                brackets.append(kind)
                outside.append(operators)
                if len(brackets) > MAX_DEPTH:
                    raise TooDeepError(token, operators=False)
            elif kind in _CLOSING and brackets:
                brackets.pop()
                operators = outside.pop() + 1  # `x[1][2]` is a chain as well
            elif kind in _DEEPER:
                operators += 1
            if operators > MAX_OPERATORS:
                raise TooDeepError(token, operators=True)
            last = kind
            yield token
