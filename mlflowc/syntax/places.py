"""What is being written where: keywords, what blocks hold, and what words of other tools are called here."""

from __future__ import annotations

from typing import NamedTuple

from mlflowc.spell import nearest
from mlflowc.syntax.scan import Tok
from mlflowc.syntax.structure import Chunk

_STEPS, _SETTINGS = ("in", "out", "keep", "param"), ()
# keyword -> what its block holds, and a text that leads the parser into such a block
BLOCKS: dict[str, tuple[tuple[str, ...], str]] = {
    **dict.fromkeys(("env", "runner", "auth", "cache", "ci"), (_SETTINGS, "env x {")),
    **dict.fromkeys(("stage", "component", "action"), (_STEPS, "component x {")),
    "gate": (("require",), "gate x {"),
    "report": (("metrics", "params", "plot", "text", "stages"), "report x {"),
    "sweep": (("vary",), "sweep x over y {"),
    "on": (("input",), "on x {"),
}
USUAL = ("stage", "data", "params", "env", "runner", "type", "gate", "report", "action", "sweep", "on")
LINES = ("mlpipe", "pipeline", "use", "params", "param", "type", "data", "secret")
DECLARATIONS = (*LINES, *BLOCKS)
ANY_ITEM = ("in", "out", "keep", "vary", "require", "input")
# Words of other tools, and what they are called here.
OTHER_DECLARATIONS = {
    "job": "stage", "step": "stage", "task": "stage", "rule": "stage", "node": "stage",
    "dataset": "data", "source": "data", "import": "use", "include": "use", "parameters": "params",
    "environment": "env", "machine": "runner", "resources": "runner", "check": "gate", "when": "on",
    "trigger": "on",
    "tune": "sweep", "deploy": "action", "name": "pipeline", "version": "mlpipe",
}  # fmt: skip
OTHER_ITEMS = {
    "input": "in", "inputs": "in", "deps": "in", "dep": "in", "needs": "in",
    "output": "out", "outputs": "out", "outs": "out", "metrics": "out", "parameter": "param",
    "params": "param",
    "checkpoint": "keep", "assert": "require", "check": "require", "requires": "require", "param": "vary",
    "search": "vary", "in": "input",
}  # fmt: skip

# Those of them that mean the very same.
SAME = {
    "input": "in",
    "inputs": "in",
    "output": "out",
    "outputs": "out",
    "parameter": "param",
    "requires": "require",
}


class Place(NamedTuple):
    """What is being written: `stage` and `train`, the items its block may hold, a text that opens one."""

    keyword: str
    name: str
    block: tuple[str, ...] | None
    opening: str

    def __str__(self) -> str:
        if self.keyword == "on":
            return f"`on {self.name}`"
        return (
            f"{self.keyword} `{self.name}`"
            if self.name
            else f"`{self.keyword}`"
            if self.keyword
            else "the file"
        )


def first_word(text: str, tokens: list[Tok]) -> str:
    """The word that the tokens begin with, or nothing."""
    return text[tokens[0].start : tokens[0].end] if tokens and tokens[0].kind == "word" else ""


def looks_like_setting(text: str, tokens: list[Tok]) -> bool:
    """`key = …`"""
    return len(tokens) > 1 and tokens[0].kind == "word" and text_of(text, tokens, 1) == "="


def place(text: str, chunk: Chunk) -> Place:
    """What a chunk is; a misspelt keyword is taken for the one it was meant to be."""
    word = first_word(text, chunk.tokens)
    keyword = word if word in DECLARATIONS else meant(word, DECLARATIONS, OTHER_DECLARATIONS) or word
    name = text_of(text, chunk.tokens, 1) if len(chunk.tokens) > 1 and chunk.tokens[1].kind == "word" else ""
    if chunk.body is None or keyword not in BLOCKS:
        return Place(keyword, name, None, "")
    if keyword == "stage" and any(text_of(text, chunk.tokens, n) == "=" for n in range(2, len(chunk.tokens))):
        return Place(keyword, name, _SETTINGS, "env x {")
    block, opening = BLOCKS[keyword]
    return Place(keyword, name, block, opening)


def text_of(text: str, tokens: list[Tok], n: int) -> str:
    """The text of token `n`, nothing where there is none."""
    return text[tokens[n].start : tokens[n].end] if 0 <= n < len(tokens) else ""


def meant(word: str, candidates: tuple[str, ...], others: dict[str, str]) -> str | None:
    """What a wrong word was meant to be: the nearest candidate, or what `others` say of it."""
    if not word:
        return None
    low = word.lower()
    if low in candidates:
        return low
    if low in others:
        return others[low]
    guess = nearest(low, (*candidates, *others))
    return others.get(guess, guess) if guess else None
