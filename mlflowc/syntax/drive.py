"""Running lark's parse table, about twice as fast as lark does.

lark makes the table and the terminals; whatever parses here parses there, to the same nodes. A text that does
not parse is left to lark, which knows what to say of it. Three things make the difference:

- Tokens are cut by one pattern for all states. In the order that lark gives to terminals, the first that
  matches among all is the first that matches among those that the state takes, if the state takes it. If it
  does not, lark's own scanner for the state is asked. A keyword is a name where the state does not take it.
- A rule with one symbol that hands its value on (`?sum: term`) only changes the state. The end of a chain of
  these depends on the state below and the next token alone, and is looked up when it was gone before.
- Values of rules that are spliced into others (`_body`) are lists, not trees.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

from lark import Lark, Token
from lark.lexer import PatternRE, TerminalDef
from lark.parsers.lalr_analysis import Shift

from mlflowc.syntax.lexer import Separators

_Children: TypeAlias = list[Any]
_KEYWORD = re.compile(r"([a-z]+)\(\?!\[A-Za-z0-9_\]\)")  # as `parser._whole_word` writes it
_COMMENTS = ("COMMENT", "_GOES_ON")


class _Reduce(NamedTuple):
    """What a rule does: take `size` values, splice those at `spliced` in, and give them to the builder's
    method `name` (None: hand them on as a list). `alone`: a single value is handed on as it is.
    """

    size: int
    origin: str
    name: str | None
    spliced: tuple[int, ...]
    alone: bool


class Refused(Exception):
    """The text does not parse."""


class Driver:
    """The table of one grammar. Safe to use for one text after the other."""

    def __init__(self, lark: Lark) -> None:
        frontend = lark.parser
        table = frontend.parser.parser.parse_table
        self._contextual = frontend.lexer.lexer
        self._first: int = table.start_states["start"]
        self._last: int = table.end_states["start"]
        rules: dict[Any, _Reduce] = {}
        self._shift: list[dict[str, int]] = [{} for _ in table.states]
        self._reduce: list[dict[str, _Reduce]] = [{} for _ in table.states]
        for state, actions in table.states.items():
            for symbol, (action, to) in actions.items():
                if action is Shift:
                    self._shift[state][symbol] = to
                else:
                    if to not in rules:
                        rules[to] = _reduction(to)
                    self._reduce[state][symbol] = rules[to]
        self._chains: dict[tuple[int, int, str], int] = {}
        self._flags = frontend.lexer_conf.g_regex_flags
        self._ignored = frozenset(frontend.lexer_conf.ignore)
        self._pattern, self._keywords = _pattern(self._contextual.root_lexer.terminals, self._flags)

    def parse(self, text: str, builder: Any) -> tuple[Any, list[tuple[int, str]]]:
        """What the builder makes of the text, and where the comments are. Raises `Refused`, and
        `TooDeepError` as the lexer does.
        """
        methods: dict[str, Callable[[_Children], Any]] = {}
        comments: list[tuple[int, str]] = []
        states = [self._first]
        values: list[Any] = []
        shifts, reductions, chains = self._shift, self._reduce, self._chains
        for token in self._tokens(text, states, comments):
            kind = token.type
            state = states[-1]
            while True:
                to = shifts[state].get(kind)
                if to is not None:
                    states.append(to)
                    values.append(token)
                    break
                rule = reductions[state].get(kind)
                if rule is None:
                    raise Refused
                size, origin, name, spliced, alone = rule
                if alone and size == 1 and not spliced:
                    way = (states[-2], state, kind)
                    end = chains.get(way)
                    if end is None:
                        end = chains[way] = self._chain(*way)
                    states[-1] = state = end
                    continue
                if size:
                    taken = values[-size:]
                    del states[-size:], values[-size:]
                else:
                    taken = []
                if spliced:
                    taken = _splice(taken, spliced)
                if name is None:
                    made: Any = taken
                elif alone and len(taken) == 1:
                    made = taken[0]
                else:
                    method = methods.get(name)
                    if method is None:
                        method = methods[name] = getattr(builder, name)
                    made = method(taken)
                state = shifts[states[-1]][origin]
                states.append(state)
                values.append(made)
                if state == self._last and kind == "$END":
                    return made, comments
        raise Refused

    def _chain(self, below: int, state: int, kind: str) -> int:
        """The state after all rules that only hand a value on."""
        while True:
            rule = self._reduce[state].get(kind)
            if rule is None or rule.size != 1 or not rule.alone or rule.spliced:
                return state
            state = self._shift[below][rule.origin]

    def _tokens(self, text: str, states: list[int], comments: list[tuple[int, str]]) -> Iterator[Token]:
        yield from Separators().process(self._cut(text, states, comments))
        yield _token("$END", "", len(text), len(text))

    def _cut(self, text: str, states: list[int], comments: list[tuple[int, str]]) -> Iterator[Token]:
        """Tokens, each cut in the state that the parser is in by then."""
        match, keywords, ignored = self._pattern.match, self._keywords, self._ignored
        shifts, reductions = self._shift, self._reduce
        at, size = 0, len(text)
        make = str.__new__
        while at < size:
            found = match(text, at)
            if found is None:
                raise Refused
            kind, group = found.lastgroup, found.lastindex
            assert kind is not None and group is not None
            start, end = found.span(group)
            if kind in ignored:
                if kind in _COMMENTS:
                    _note(kind, text, start, end, comments)
                at = end
                continue
            value = text[start:end]
            state = states[-1]
            if kind == "NAME" and value in keywords:
                word = keywords[value]
                if word in shifts[state] or word in reductions[state]:
                    kind = word
            elif kind not in shifts[state] and kind not in reductions[state] and kind not in _ALWAYS:
                again = self._contextual.lexers[state].scanner.match(_Slice(text, size), start)
                if again is None or again[1] in ignored:
                    raise Refused
                value, kind = again
                end = start + len(value)
            at = end
            token = make(_Token, value)
            token.type = kind
            token.start_pos = start
            token.end_pos = end
            yield token


_ALWAYS = frozenset(Separators.always_accept)


class _Token(Token):
    """A token without a line and a column, which nobody asks for in a text that parses."""

    __slots__ = ()


class _Slice(NamedTuple):
    """What lark's scanner reads of its own kind of text."""

    text: str
    end: int


def _token(kind: str, value: str, start: int, end: int) -> Token:
    token = str.__new__(_Token, value)
    token.type, token.start_pos, token.end_pos = kind, start, end
    return token


def _reduction(rule: Any) -> _Reduce:
    origin: str = rule.origin.name
    name = rule.alias or origin
    spliced = tuple(n for n, s in enumerate(rule.expansion) if not s.is_term and s.name.startswith("_"))
    alone = bool(rule.options.expand1) and not rule.alias
    return _Reduce(len(rule.expansion), origin, None if name.startswith("_") else name, spliced, alone)


def _splice(taken: _Children, spliced: tuple[int, ...]) -> _Children:
    if spliced == (0,):  # a list that grows at its end
        first: _Children = taken[0]
        first += taken[1:]
        return first
    made: _Children = []
    for n, value in enumerate(taken):
        if n in spliced:
            made += value
        else:
            made.append(value)
    return made


def _pattern(terminals: list[TerminalDef], flags: int) -> tuple[re.Pattern[str], dict[str, str]]:
    """One pattern for all terminals but the keywords, and the keywords by their text."""
    keywords: dict[str, str] = {}
    choices = []
    for terminal in terminals:  # in lark's order
        word = _KEYWORD.fullmatch(terminal.pattern.value) if isinstance(terminal.pattern, PatternRE) else None
        if word:
            keywords[word[1]] = terminal.name
        else:
            choices.append(f"(?P<{terminal.name}>{terminal.pattern.to_regexp()})")
    return re.compile(r"[ \t]*(?:" + "|".join(choices) + ")", flags), keywords


def _note(kind: str, text: str, start: int, end: int, comments: list[tuple[int, str]]) -> None:
    if kind == "COMMENT":
        comments.append((start, text[start:end]))
        return
    comments += [(start + c.start(), c[0]) for c in re.finditer(r"#[^\n]*", text[start:end])]
