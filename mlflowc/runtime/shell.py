"""Reads a shell script far enough to tell which programs it starts, with which words, in which folder.

Not a shell: nothing is run, and what cannot be known from the text (a variable of the host, the output of
a command) stays unknown. Words that may have several values (`for x in a b`) yield all of them: for the
question "which files decide what this command does" too many is safe and too few is not.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import NamedTuple

from mlflowc.frozen import dataclass, field

# Inside a word, `\0name\0` is a variable and UNKNOWN something that only running would tell.
_MARK = "\0"
UNKNOWN = "\1"
_VARIABLE = re.compile("\0([^\0]*)\0")
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\+?=(.*)", re.DOTALL)
# Runs of characters that mean only themselves, outside and inside double quotes.
_PLAIN = re.compile(r"[^\s'\"\\$`;|&<>()#]+")
_QUOTED = re.compile(r"[^\"\\$`]+")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9@*#?!$-]")
_RESERVED = re.compile(r"if|then|elif|else|fi|while|until|do|done|time|!|\{|\}|case|esac|in|coproc")
_DECLARES = frozenset(["export", "declare", "local", "readonly", "typeset"])
_MOST_VALUES = 64


class Invocation(NamedTuple):
    """One simple command: its words with known variables filled in, the folder it starts in (POSIX, relative
    to where the script's folder is relative to), the variables set for it, and the text of its here-document.
    """

    words: tuple[str, ...]
    folder: str
    variables: Mapping[str, tuple[str, ...]]
    stdin: str | None


@dataclass(slots=True)
class _Simple:
    words: list[str] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)


# A parsed script: simple commands, and `(` `)` where a subshell starts and ends.
_Item = _Simple | str


def invocations(
    text: str,
    folder: str = "",
    variables: Mapping[str, tuple[str, ...]] | None = None,
) -> Iterator[Invocation]:
    """The simple commands of `text` in the order written, those of substitutions before their user's."""
    known = dict(variables or {})
    here, stack = folder, [(folder, known)]
    for item in _parse(text):
        if item == "(":
            stack.append((here, dict(known)))
            continue
        if item == ")":
            if len(stack) > 1:
                here, known = stack.pop()
            continue
        assert isinstance(item, _Simple)
        words = item.words
        while words and _RESERVED.fullmatch(words[0]):
            words = words[1:]
        local = dict(known)
        while words and (match := _ASSIGNMENT.fullmatch(words[0])):
            local[match[1]] = tuple(_expand(match[2], local))
            words = words[1:]
        if not words:
            known.update(local)
            continue
        if words[0] == "for" and len(words) > 3 and words[2] == "in":
            known[words[1]] = tuple(v for w in words[3:] for v in _expand(w, known))
        if words[0] in _DECLARES:
            for word in words[1:]:
                if match := _ASSIGNMENT.fullmatch(word):
                    known[match[1]] = tuple(_expand(match[2], known))
        expanded = tuple(v for w in words for v in _expand(w, local))
        if expanded and expanded[0] in ("cd", "pushd"):
            target = next((w for w in expanded[1:] if not w.startswith("-")), "")
            if target and UNKNOWN not in target:
                here = posixpath.normpath(posixpath.join(here, target))
                if "PWD" in known:
                    known["PWD"] = tuple(posixpath.join(p, target) for p in known["PWD"])
            continue
        if expanded:
            yield Invocation(expanded, here, local, "\n".join(item.bodies) if item.bodies else None)


def _expand(word: str, variables: Mapping[str, tuple[str, ...]]) -> list[str]:
    """All values that `word` may have; an unknown variable leaves UNKNOWN in it."""
    if _MARK not in word:
        return [word]
    values = [""]
    at = 0
    for match in _VARIABLE.finditer(word):
        name, _, default = match[1].partition("\2")
        options = variables.get(name) or ((default,) if default else (UNKNOWN,))
        before = word[at : match.start()]
        values = [v + before + o for v in values for o in options][:_MOST_VALUES]
        at = match.end()
    return [v + word[at:] for v in values]


def _parse(text: str) -> list[_Item]:
    return _Reader(text.replace(_MARK, UNKNOWN)).script()


@cache
def _own_folder() -> re.Pattern[str]:
    """`dirname "$0"`, and `cd "$(dirname "$0")" && pwd`: the usual ways to ask where the script is."""
    zero = r"(?:\"?\$(?:0|\{0\}|BASH_SOURCE|\{BASH_SOURCE(?:\[0\])?\})\"?)"
    dirname = rf"dirname\s+(?:--\s+)?{zero}\s*"
    quiet = r"(?:\s*>\s*/dev/null(?:\s+2>&1)?)?"
    return re.compile(
        rf"\s*(?:{dirname}|cd\s+(?:--\s+)?\"?\$\(\s*{dirname}\)\"?{quiet}\s*(?:&&|;)\s*pwd(?:\s+-[LP])?\s*)"
    )


class _Reader:
    """A scanner over `text`. `script` reads to the end, or to the `)` that closes it when nested."""

    def __init__(self, text: str, at: int = 0) -> None:
        self.text, self.at = text, at
        self.items: list[_Item] = []
        self.current = _Simple()
        self.word: str | None = None
        self.awaits: list[tuple[str, bool, _Simple]] = []  # here-documents: end, whether tabs go, owner
        self.skip = False  # the next word is what output goes to

    def script(self, nested: bool = False) -> list[_Item]:
        depth = 0
        while self.at < len(self.text):
            if match := _PLAIN.match(self.text, self.at):
                self._add(match[0])
                self.at = match.end()
                continue
            c = self.text[self.at]
            if c == "(":
                self._end_command()
                self.items.append("(")
                depth += 1
                self.at += 1
            elif c == ")":
                self._end_command()
                self.at += 1
                if nested and depth == 0:
                    return self.items
                depth -= 1
                self.items.append(")")
            else:
                self._step(c)
        self._end_command()
        return self.items

    def _step(self, c: str) -> None:
        text, at = self.text, self.at
        if c == "\n":
            self._end_command()
            self.at += 1
            self._here_documents()
        elif c in ";|" or (c == "&" and text[at + 1 : at + 2] != ">"):
            self._end_command()
            self.at += 1
        elif c in "<>" or text.startswith("&>", at):
            self._redirect()
        elif c in " \t\r":
            self._end_word()
            self.at += 1
        elif c == "#" and self.word is None:
            end = text.find("\n", at)
            self.at = len(text) if end < 0 else end
        else:
            self._part(c)

    def _part(self, c: str) -> None:
        """One piece of a word: a quoted string, an expansion, or a plain character."""
        if c == "'":
            end = self.text.find("'", self.at + 1)
            end = len(self.text) if end < 0 else end
            self._add(self.text[self.at + 1 : end])
            self.at = end + 1
        elif c == '"':
            self._add("")
            self.at += 1
            self._double_quoted()
        elif c == "\\":
            if self.text[self.at + 1 : self.at + 2] != "\n":
                self._add(self.text[self.at + 1 : self.at + 2])
            self.at += 2
        elif c in "$`":
            self._expansion(c)
        else:
            self._add(c)
            self.at += 1

    def _double_quoted(self) -> None:
        while self.at < len(self.text):
            if match := _QUOTED.match(self.text, self.at):
                self._add(match[0])
                self.at = match.end()
                continue
            c = self.text[self.at]
            if c == '"':
                self.at += 1
                return
            if c == "\\" and self.text[self.at + 1 : self.at + 2] in tuple('$`"\\\n'):
                following = self.text[self.at + 1]
                self._add("" if following == "\n" else following)
                self.at += 2
            elif c in "$`":
                self._expansion(c)
            else:
                self._add(c)  # a backslash before a letter is one
                self.at += 1

    def _expansion(self, c: str) -> None:
        text, at = self.text, self.at
        if c == "`":
            end = text.find("`", at + 1)
            end = len(text) if end < 0 else end
            self._substitute(text[at + 1 : end], _parse(text[at + 1 : end]))
            self.at = end + 1
        elif text.startswith("$((", at):
            end = text.find("))", at)
            self._add(UNKNOWN)
            self.at = len(text) if end < 0 else end + 2
        elif text.startswith("$(", at):
            inner = _Reader(text, at + 2)
            items = inner.script(nested=True)
            self._substitute(text[at + 2 : inner.at - 1], items)
            self.at = inner.at
        elif text.startswith("${", at):
            end = text.find("}", at)
            end = len(text) if end < 0 else end
            self._add(_braced(text[at + 2 : end]))
            self.at = end + 1
        elif match := _NAME.match(text, at + 1):
            self._add(_MARK + match[0] + _MARK)
            self.at = match.end()
        else:
            self._add("$")
            self.at += 1

    def _substitute(self, source: str, items: list[_Item]) -> None:
        if _own_folder().fullmatch(source):
            self._add(f"{_MARK}@dirname{_MARK}")
            return
        if source.strip() == "pwd":
            self._add(f"{_MARK}PWD{_MARK}")
            return
        self.items += ["(", *items, ")"]
        self._add(UNKNOWN)

    def _redirect(self) -> None:
        text = self.text
        match = re.compile(r"&>>?|<<<|<<-?|<>|<&|>>|>\||>&|<\(|>\(|[<>]").match(text, self.at)
        assert match is not None
        if self.word is not None and self.word.isdigit():
            self.word = None  # the 2 of `2>`
        self._end_word()
        self.at = match.end()
        operator = match[0]
        if operator in ("<(", ">("):
            inner = _Reader(text, self.at)
            self.items += ["(", *inner.script(nested=True), ")"]
            self.at = inner.at
        elif operator in ("<<", "<<-"):
            end = re.compile(r"[ \t]*(\"[^\"\n]*\"|'[^'\n]*'|[^\s;&|<>()]+)").match(text, self.at)
            if end:
                self.awaits.append((end[1].strip("'\"").replace("\\", ""), operator == "<<-", self.current))
                self.at = end.end()
        elif ">" in operator or operator == "<&":
            self.skip = True

    def _here_documents(self) -> None:
        for end, tabs, owner in self.awaits:
            lines = []
            while self.at < len(self.text):
                stop = self.text.find("\n", self.at)
                stop = len(self.text) if stop < 0 else stop
                line = self.text[self.at : stop]
                self.at = stop + 1
                line = line.lstrip("\t") if tabs else line
                if line == end:
                    break
                lines.append(line)
            owner.bodies.append("\n".join(lines))
        self.awaits = []

    def _add(self, text: str) -> None:
        self.word = (self.word or "") + text

    def _end_word(self) -> None:
        if self.word is not None:
            if not self.skip:
                self.current.words.append(self.word)
            self.skip = False
        self.word = None

    def _end_command(self) -> None:
        self._end_word()
        self.skip = False
        if self.current.words:
            self.items.append(self.current)
        self.current = _Simple()


def _braced(inner: str) -> str:
    """The word for `${inner}`: the variable, with its default where it has one."""
    if re.fullmatch(r"BASH_SOURCE(\[0\])?", inner):
        return f"{_MARK}0{_MARK}"
    if inner in ("0%/*", "BASH_SOURCE%/*", "BASH_SOURCE[0]%/*"):
        return f"{_MARK}@dirname{_MARK}"
    match = re.fullmatch(r"([A-Za-z_][A-Za-z0-9_]*|[0-9@*])(?::?[-=]([^$`]*))?", inner)
    if not match:
        return UNKNOWN
    return f"{_MARK}{match[1]}\2{match[2]}{_MARK}" if match[2] else f"{_MARK}{match[1]}{_MARK}"
