"""What can be wrong with the text itself: the codes `MLP1xx`, with their long explanations."""

from __future__ import annotations

from mlflowc.diagnostic import Check, Severity


def _check(number: int, title: str, why: str, failing: str = "", mended: str = "") -> Check:
    """A check whose explanation shows a failing and a mended example (tests parse both)."""
    text = why.strip()
    if failing:
        text += f"\n\n```mlpipe fails\n{failing.strip()}\n```"
    if mended:
        text += f"\n\n```mlpipe\n{mended.strip()}\n```"
    return Check(f"MLP{number}", Severity.ERROR, title, text + "\n")


SYNTAX = _check(
    101,
    "the text does not parse",
    """
Something stands where the grammar wants something else. The message says what was being written, what could
have followed and what was found instead. The rest of the file is read all the same, so that all errors are
reported at once; a line that does not parse is left out.
""",
    """
mlpipe 1
stage train {
  out model: = "model.pkl"
}
""",
    """
mlpipe 1
stage train {
  out model: file = "model.pkl"
}
""",
)
CHARACTER = _check(
    102,
    "a character that cannot stand here",
    """
Outside of strings and comments the language uses ASCII alone. Characters from word processors and chat
programs (typographic quotes, dashes, no-break spaces) look right and are not; `;`, `//` and single quotes
come from other languages. Where the meaning is certain the message carries a fix.
""",
    """
mlpipe 1
stage train {
  run = 'python train.py';
}
""",
    """
mlpipe 1
stage train {
  run = "python train.py"  # no semicolon, double quotes
}
""",
)
TOO_DEEP = _check(
    103,
    "nested too deep",
    """
Brackets may be nested 100 deep, and one expression may have 150 operators. Files that people write stay
below ten, so more is noise or a mistake of the program that wrote the file.
""",
    "mlpipe 1\ndata x = " + "[" * 101 + "]" * 101,
    "mlpipe 1\ndata x = [[1], [2]]",
)
NO_EDITION = _check(
    104,
    "the edition header is missing",
    """
A file begins with the edition of the language that it is written in. A later version of the compiler keeps
reading an old edition the way it was meant, so that a pipeline does not change its meaning by an upgrade.
""",
    """
pipeline churn
""",
    """
mlpipe 1

pipeline churn
""",
)
EDITION = _check(
    105,
    "an edition that this version does not know",
    """
`mlpipe N` stands once, before everything else. The only edition so far is 1; a file of a later edition
needs a later version of `mlpipec`.
""",
    "mlpipe 2",
    "mlpipe 1",
)
UNIT = _check(
    106,
    "an unknown unit behind a number",
    """
Durations are written with `ms s m h d`; sizes with `B KB MB GB TB` (powers of 1000) or `KiB MiB GiB TiB`
(powers of 1024); shares with `%`. Upper and lower case count.
""",
    """
mlpipe 1
runner big {
  memory = 16gb
}
""",
    """
mlpipe 1
runner big {
  memory = 16GB
}
""",
)
ESCAPE = _check(
    107,
    "an escape that means nothing",
    r"""
Strings know `\n \t \r \0 \\ \" \'`, `\u00e9` and `\u{1F600}`. A backslash before anything else is doubled,
as in regular expressions.
""",
    r"""
mlpipe 1
type Ids = csv { id: str matches "\d+" }
""",
    r"""
mlpipe 1
type Ids = csv { id: str matches "\\d+" }
""",
)
BARE_NAME = _check(
    108,
    "a name that belongs to nothing",
    """
A line of a stage is a declaration (`in`, `out`, `keep`, `param`), a setting `key = value` or a block. A name
alone is none of them; only behind a comma it goes on with the declaration before it.
""",
    """
mlpipe 1
stage train {
  raw
}
""",
    """
mlpipe 1
stage train {
  in raw
  param train.lr, train.epochs
}
""",
)
OPEN_STRING = _check(
    109,
    "a string that is not closed",
    '''
A string between `"` ends on the line it begins on. Text of several lines stands between `"""`; the
indentation that its lines share is no part of it.
''',
    """
mlpipe 1
stage train {
  run = "python train.py
}
""",
    '''
mlpipe 1
stage train {
  run = """
    python train.py
    python plot.py
    """
}
''',
)
OPEN_BRACKET = _check(
    110,
    "a bracket that is never closed",
    """
Every `{`, `(` and `[` has its other half. The message points to the one that was opened; which one that
is, is told by the indentation, so it helps to run `mlpipec fmt` now and then.
""",
    """
mlpipe 1
stage prepare {
  in raw

stage train {
  in prepare.clean
}
""",
    """
mlpipe 1
stage prepare {
  in raw
}

stage train {
  in prepare.clean
}
""",
)
STRAY_BRACKET = _check(
    111,
    "a bracket that closes nothing",
    """
There is a `}`, `)` or `]` with nothing open for it. Often an earlier one came too soon; the message shows
where the block before ended.
""",
    """
mlpipe 1
stage train {
  in raw }
  run = "python train.py"
}
""",
    """
mlpipe 1
stage train {
  in raw
  run = "python train.py"
}
""",
)
KEYWORD = _check(
    112,
    "a word that begins nothing here",
    """
A file is made of declarations that begin with a keyword; most hold a block, and what begins a line of it
depends on the block: `in out keep param` in a stage, component or action, `require` in a gate, `vary` in a
sweep, `input` in an event, `metrics params plot text stages` in a report. Settings stand everywhere.
""",
    """
mlpipe 1
stge train {
  ouput model: file = "model.pkl"
}
""",
    """
mlpipe 1
stage train {
  out model: file = "model.pkl"
}
""",
)
COLON_EQUALS = _check(
    113,
    "`:`, `=` and `==` are mixed up",
    """
`name: type` gives a type, `name = value` sets a value, and `a == b` compares two values. A declaration can
have both a type and a value: `out model: file = "model.pkl"`.
""",
    """
mlpipe 1
stage train {
  timeout: 2h
  retry 2
}
""",
    """
mlpipe 1
stage train {
  timeout = 2h
  retry   = 2
}
""",
)
QUOTES = _check(
    114,
    "text without quotes",
    """
Paths, commands and addresses are text, and text stands between `"`. A word without quotes is the name of
something that is declared.
""",
    """
mlpipe 1
stage train {
  run = python train.py --epochs 3
}
""",
    """
mlpipe 1
stage train {
  run = "python train.py --epochs 3"
}
""",
)
NOT_A_NAME = _check(
    115,
    "not a name",
    """
Names are of the letters `a` to `z`, digits and `_`, and begin with a letter; names of types begin with a
capital. They stand without quotes. `-` is minus, so `train-model` would be a subtraction.
""",
    """
mlpipe 1
stage train-model {
  in raw
}
""",
    """
mlpipe 1
stage train_model {
  in raw
}
""",
)
YAML = _check(
    116,
    "YAML where there is none",
    """
Blocks stand between `{` and `}`, whatever their indentation, and lists between `[` and `]`.
""",
    """
mlpipe 1
stage train:
  in raw
""",
    """
mlpipe 1
stage train {
  in raw
}
""",
)
NOT_UTF8 = _check(
    117,
    "the file is not UTF-8",
    """
Source files are UTF-8, on every machine. The message names the first byte that is not, with its place, and
guesses at the encoding that the file has.
""",
)
MORE = _check(
    118,
    "more errors than are shown",
    """
After the first twenty syntax errors of a file the rest is only counted; most of them follow from the first
ones, or the file is something else than a pipeline. In a file of more than two million characters only the
first error is looked for.
""",
)
COMMA = _check(
    119,
    "a comma is missing",
    """
Elements of lists and arguments of calls have commas between them, also when each has a line of its own.
Items of blocks and columns of types are parted by a line break or a comma.
""",
    """
mlpipe 1
stage train {
  run = [
    "python a.py"
    "python b.py"
  ]
}
""",
    """
mlpipe 1
stage train {
  run = [
    "python a.py",
    "python b.py",
  ]
}
""",
)

CHECKS = (
    SYNTAX, CHARACTER, TOO_DEEP, NO_EDITION, EDITION, UNIT, ESCAPE, BARE_NAME, OPEN_STRING, OPEN_BRACKET,
    STRAY_BRACKET, KEYWORD, COLON_EQUALS, QUOTES, NOT_A_NAME, YAML, NOT_UTF8, MORE, COMMA,
)  # fmt: skip
