"""Slips that people make, and what is said of them: place, words, fix, and that nothing follows from them."""

from __future__ import annotations

import pytest

from mlflowc.diagnostic import Diagnostic
from mlflowc.span import Source
from mlflowc.syntax import ast
from mlflowc.syntax.parser import parse


def _stage(*lines: str) -> str:
    body = "".join(f"  {line}\n" for line in lines)
    return f'mlpipe 1\nstage train {{\n{body}}}\nstage after {{ run = "x" }}\n'


# name: (text, what is said of it: "CODE line:column words of the message")
CASES: dict[str, tuple[str, list[str]]] = {
    "options without braces": (
        'mlpipe 1\nreport r {\n  plot a.o x=a y = b, vs = "main"\n  params\n}\n',
        ["MLP101 3:12 options of a `plot` stand between `{` and `}`"],
    ),
    "a line that begins with an operator behind a broken one": (
        "mlpipe 1\nrunner big {\n  timeout # hours\n  /disk = 5\n}\n",
        ["MLP101 4:3 "],
    ),
    "event without parentheses": (
        'mlpipe 1\non schedule "1 2 * * *" { run = [a] }\n',
        ["MLP101 2:13 stands between parentheses"],
    ),
    "two indexes in one": (
        'mlpipe 1\ngate g { require t[1, "x"].a.b > 1 }\n',
        ["MLP101 2:21 each variable of `each` has brackets of its own"],
    ),
    "a list of inputs without brackets": (
        _stage("in data = b.m, a.o"),
        ["MLP108 3:18 behind an input that has its value already"],
    ),
    "misspelt declaration": (
        'mlpipe 1\nstge train {\n  in raw\n}\ndata after = "y"\n',
        ["MLP112 2:1 `stge` does not begin a declaration"],
    ),
    "misspelt items": (
        "mlpipe 1\ngate q {\n  requre a.b > 3\n}\n"
        'stage s {\n  ouput m: file = "m"\n}\nstage after { in x }\n',
        [
            "MLP112 3:3 `requre` does not begin a line of gate `q`",
            "MLP112 6:3 `ouput` does not begin a line of stage `s`",
        ],
    ),
    "type missing": (
        _stage('out model: = "m"'),
        ["MLP101 3:14 in stage `train`: after `out model:` a type is wanted, `=` found"],
    ),
    "equals missing": (_stage("retry 2"), ["MLP113 3:9 between `retry` and its value a `=` is wanted"]),
    "colon for equals in a stage": (
        _stage("env: py", 'run: "x"'),
        ["MLP113 3:6 after `env:` a type is wanted", "MLP113 4:6 after `run:` a type is wanted"],
    ),
    "colon for equals in an env": (
        'mlpipe 1\nenv py { python: "3.11" }\nstage after { in x }\n',
        ["MLP113 2:16 in env `py`: after `python:`"],
    ),
    "path for a type": (_stage('out m: "x.csv"'), ["MLP113 3:8 after `out m:` a type is wanted"]),
    "one equals sign to compare": (
        "mlpipe 1\ngate q {\n  require a = 3\n}\nstage after { in x }\n",
        ["MLP113 3:13 two values are compared with `==`"],
    ),
    "two equals signs to set": (
        'mlpipe 1\ncache { remote == "x" }\nstage after { in x }\n',
        ["MLP113 2:16 a value is set with `=`"],
    ),
    "typographic quotes": (
        _stage('run = [“a”, "b”]'),
        ["MLP102 3:10 `“` is a typographic quote", "MLP102 3:15 typographic quote"],
    ),
    "single quotes": (_stage("run = 'x y'"), ["MLP102 3:9 between double quotes, not single ones"]),
    "no-break space": (_stage("in\u00a0raw"), ["MLP102 3:5 an odd space (no-break space, U+00A0)"]),
    "zero width space": (
        _stage("in raw\u200b"),
        ["MLP102 3:9 an invisible character (zero width space, U+200B)"],
    ),
    "em dash": (_stage("retry = \u2014 1"), ["MLP102 3:11 `—` (em dash, U+2014) looks like `-`"]),
    "semicolon at the end": (_stage("timeout = 8h;"), ["MLP102 3:15 `;` separates nothing here"]),
    "semicolon between": (_stage("timeout = 8h; retry = 2"), ["MLP102 3:15 `;` separates nothing here"]),
    "operators of C": (
        "mlpipe 1\ngate q { require a && b || !c }\nstage after { in x }\n",
        [
            "MLP102 2:20 `&&` is written `and`",
            "MLP102 2:25 `||` is written `or`",
            "MLP102 2:28 `!` is written `not`",
        ],
    ),
    "comment of C": (
        'mlpipe 1\n// hello\nstage after { run = "http://x" }\n',
        ["MLP102 2:1 `//` does not begin a comment"],
    ),
    "NUL bytes": ("mlpipe 1\n\0\0\0\nstage after { in x }\n", ["MLP102 2:1 a control character"]),
    "shell variable outside of a string": (_stage("run = $HOME/x"), ["MLP102 3:9 `$` cannot stand here"]),
    "name with an accent": (
        "mlpipe 1\nstage modèle { in raw }\nstage after { in x }\n",
        ["MLP115 2:7 `modèle` is not a name"],
    ),
    "name with a hyphen": (_stage('out my-model: file = "x"'), ["MLP115 3:7 `my-model` is not a name"]),
    "stage with a hyphen": (
        "mlpipe 1\nstage train-the-model {\n  in raw\n}\nstage after { in x }\n",
        ["MLP115 2:7 `train-the-model` is not a name"],
    ),
    "name in quotes": (
        'mlpipe 1\nstage "train" {\n  in raw\n}\nstage after { in x }\n',
        ["MLP115 2:7 after `stage` a name is wanted"],
    ),
    "string not closed": (_stage('run = "abc', "in raw"), ["MLP109 3:9 is not closed on its line"]),
    "string over lines": (
        _stage('run = "abc', '  def"', "in raw"),
        ['MLP109 3:9 a string between `"` ends on the line it begins on'],
    ),
    "text not closed": (_stage('run = """abc', "in raw"), ['MLP109 3:9 begins here with `"""` never ends']),
    "list of YAML": (_stage("- item"), ["MLP116 3:3 `- item` is YAML"]),
    "block of YAML": (
        'mlpipe 1\nstage train:\n  in raw\n  run = "x"\n\nstage after { in x }\n',
        ["MLP116 2:12 a block stands between `{` and `}`"],
    ),
    "command without quotes": (
        _stage("run = python train.py --x  # why", "retry = 2"),
        ["MLP114 3:9 text stands between quotes"],
    ),
    "address without quotes": (
        "mlpipe 1\ndata x = s3://foo/bar\nstage after { in x }\n",
        ["MLP114 2:10 text stands between quotes"],
    ),
    "brace closed too early": (
        _stage("in raw }", 'run = "x"'),
        ["MLP111 5:1 this `}` closes nothing"],
    ),
    "one brace too many": (
        "mlpipe 1\nstage a {\n  in x\n}\n}\nstage after { in x }\n",
        ["MLP111 5:1 this `}` closes nothing"],
    ),
    "block never closed": (
        'mlpipe 1\nstage a {\n  in raw\n  run = "x"\n\nstage after {\n  run = "y"\n}\n',
        ["MLP110 2:9 the `{` that opens here is never closed"],
    ),
    "columns never closed": (
        _stage("out x: csv { id: int", 'run = "a"'),
        ["MLP110 3:14 the `{` that opens here is never closed"],
    ),
    "list never closed": (
        _stage('run = ["a", "b"', "retry = 2"),
        ["MLP110 3:9 the `[` that opens here is never closed"],
    ),
    "comma missing": (_stage('run = ["a" "b"]'), ['MLP119 3:14 between `"a"` and `"b"` a `,` is wanted']),
    "two lines in one": (
        _stage('in a = "a" out b = "b"', 'run = "x"'),
        ["MLP119 3:14 between `\"a\"` and `out` a `,` or a new line is wanted"],
    ),
    "blank before a unit": (
        _stage("timeout = 3 h"),
        ["MLP101 3:13 a unit stands right behind its number"],
    ),
    "input by index": (
        _stage('in train["de"].model\n  in other[*]'),
        ["MLP101 3:6 an input that is read by an index needs a name of its own", "MLP101 4:6 an input"],
    ),
    "comma missing over lines": (
        _stage('runner = aws(region = "x"', "spot = true)"),
        ['MLP119 4:3 between `"x"` and `spot` a `,` is wanted'],
    ),
    "comma missing between items": (
        _stage("vars { A = 1 B = 2 }"),
        ["MLP119 3:16 between `1` and `B` a `,` or a new line is wanted"],
    ),
    "type of a column missing": (
        _stage('out x: csv { id int, age: int } = "p"'),
        ["MLP101 3:19 `:` and a type, a comparison or `in` is wanted, `int` found"],
    ),
    "item of another block": (
        "mlpipe 1\nstage s {\n  require a > 3\n}\nstage after { in x }\n",
        ["MLP112 3:3 `require` belongs in `gate`, not in stage `s`"],
    ),
    "keyword as a setting": (_stage('in = "x"'), ["MLP112 3:3 no setting is called so"]),
    "item outside of a block": (
        'mlpipe 1\nout m: file = "x"\nstage after { in x }\n',
        ["MLP112 2:1 `out` stands in no block"],
    ),
    "setting outside of a block": (
        "mlpipe 1\nfoo = 3\nstage after { in x }\n",
        ["MLP112 2:1 `foo` does not begin a declaration"],
    ),
    "loop": ("mlpipe 1\nfor x in y {\n}\nstage after { in x }\n", ["MLP112 2:1 `for` does not begin"]),
    "the file ends in a header": ("mlpipe 1\nstage after { in x }\nstage", ["MLP101 3:6 a name is wanted"]),
    "behind a block": ('mlpipe 1\nstage after { run = "x" } foo', ["MLP101 2:27 behind the `}` of a block"]),
    "value missing": (
        "mlpipe 1\non push { run = [a], refresh = }\nstage after { in x }\n",
        ["MLP101 2:31 in `on push`: after `run = [a], refresh =` a value is wanted"],
    ),
    "no edition": ("stage after { in x }\n", ["MLP104 1:1 which edition"]),
    "empty": ("", ["MLP104 1:1 which edition"]),
    "comments only": ("# nothing\n\n# here", ["MLP104 1:1 which edition"]),
    "unit": (_stage("timeout = 8hours"), ["MLP106 3:14 `hours` is not a unit"]),
    "escape": (_stage('run = "a\\d"'), ["MLP107 3:11 `\\d` is not an escape"]),
    "several": (
        _stage("retry 2", "in raw", "- x", "out: file"),
        ["MLP113 3:9 between `retry`", "MLP116 5:3 YAML", "MLP101 6:6 after `out` a name is wanted"],
    ),
}  # fmt: skip


def _said(source: Source, found: tuple[Diagnostic, ...]) -> list[str]:
    lines = []
    for d in found:
        line, column = source.position(d.span.start)
        lines.append(f"{d.code} {line}:{column} {d.message}")
    return lines


@pytest.mark.parametrize("name", CASES)
def test_slip(name: str) -> None:
    text, wanted = CASES[name]
    source = Source("p.mlpipe", text)
    parsed = parse(source)
    said = _said(source, parsed.diagnostics)
    assert len(said) == len(wanted), said
    for line, want in zip(said, wanted, strict=True):
        place, words = want[: want.index(" ", 8)], want[want.index(" ", 8) + 1 :]
        assert line.startswith(place + " "), line
        assert words in line
    for d in parsed.diagnostics:
        assert d.help or d.label, d
        assert not any(word in d.message for word in ("LBRACE", "NAME", "_SEP", "STRING", "$END"))
    if "stage after" in text or "data after" in text:
        names = [
            d.name.text for d in parsed.file.decls if isinstance(d, ast.BlockDecl | ast.DataDecl) and d.name
        ]
        assert "after" in names


def _mended(text: str, found: tuple[Diagnostic, ...]) -> str:
    edits = sorted((e for d in found if d.fix for e in d.fix.edits), key=lambda e: e.span.start, reverse=True)
    for edit in edits:
        text = text[: edit.span.start] + edit.text + text[edit.span.end :]
    return text


def _fixable(name: str) -> bool:
    return all(d.fix for d in parse(Source("p.mlpipe", CASES[name][0])).diagnostics)


@pytest.mark.parametrize("name", [n for n in CASES if _fixable(n)])
def test_fixes_are_certain(name: str) -> None:
    text, _ = CASES[name]
    found = parse(Source("p.mlpipe", text)).diagnostics
    assert found
    assert parse(Source("p.mlpipe", _mended(text, found))).diagnostics == ()


def test_good_lines_of_a_bad_block_come_out() -> None:
    parsed = parse(Source("p", _stage("in raw", "retry 2", "param train.lr", 'out m: = "x"', 'run = "y"')))
    train = parsed.file.decls[0]
    assert isinstance(train, ast.BlockDecl)
    assert [type(i).__name__ for i in train.items] == ["InItem", "ParamItem", "Setting"]


def test_places_hold_after_recovery() -> None:
    text = _stage("retry 2", "in raw")
    after = parse(Source("p", text)).file.decls[-1]
    assert isinstance(after, ast.BlockDecl) and after.name
    assert text[after.name.span.start : after.name.span.end] == "after"
    assert text[after.span.start : after.span.end] == 'stage after { run = "x" }'


def test_comments_come_out_of_a_broken_file() -> None:
    text = '# one\nmlpipe 1\nstage s {  # two\n  retry 2  # three\n  run = "# no"\n}\n'
    assert [c.text for c in parse(Source("p", text)).file.comments] == ["# one", "# two", "# three"]


def test_opening_bracket_is_related() -> None:
    source = Source("p", "mlpipe 1\nstage a {\n  in x\n\nstage b {\n  in y\n}\n")
    (found,) = parse(source).diagnostics
    assert [source.position(label.span.start).line for label in found.related] == [5]


def test_too_early_closing_brace_is_related() -> None:
    source = Source("p", _stage("in raw }", 'run = "x"'))
    (found,) = parse(source).diagnostics
    assert [(source.position(label.span.start).line, label.text) for label in found.related] == [
        (3, "stage `train` ends here"),
        (4, "so this stands in no block"),
    ]


@pytest.mark.parametrize(
    "text", ["mlpipe 1\r\nstage a {\r\n  in x\r\n}\r\n", "\ufeffmlpipe 1\nstage a { in x }", "mlpipe 1"]
)
def test_line_ends_and_marks(text: str) -> None:
    assert parse(Source("p", text)).diagnostics == ()


def test_keywords_are_whole_words() -> None:
    # Where only the keyword `in` could follow, `int` is not `in` and `t`.
    assert parse(Source("p", "mlpipe 1\ntype T = csv { rows int }\n")).diagnostics
    assert parse(Source("p", "mlpipe 1\nsweep a overb { }\n")).diagnostics


def test_own_line_comment_before_a_continuation() -> None:
    text = "mlpipe 1\ngate g {\n  require a > 1\n    # because\n    and b > 2\n}\n"
    parsed = parse(Source("p", text))
    assert parsed.diagnostics == ()
    assert [c.text for c in parsed.file.comments] == ["# because"]


_STAGE = "mlpipe 1\nstage a {\n  x = "
_NOISE = {
    "words": "ab cd\n" * 1_700_000,
    "one line": "ab cd " * 1_700_000,
    "line breaks": "\n" * 10_000_000,
    "quotes": '"' * 10_000_001,
    "NUL": "\0" * 10_000_000,
    "brackets": "[" * 10_000,
    "brackets in a stage": _STAGE + "[" * 10_000,
    "braces behind an error": "mlpipe 1\n@ " + "{\n" * 400_000,
    "closing braces": "mlpipe 1\n@ " + "}" * 900_000,
    "headers": "mlpipe 1\n@\n" + "stage a {\n" * 100_000,
    "words of medium length": "mlpipe 1\n" + "a b\n" * 200_000,
    "backslashes": 'mlpipe 1\n"""\\' * 100_000,
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", _NOISE)
def test_noise_ends_soon_and_says_something(name: str) -> None:
    found = parse(Source("p", _NOISE[name])).diagnostics
    assert 1 <= len(found) <= 21


@pytest.mark.parametrize(
    "chain",
    ["a" + " + a" * 5000, "not " * 5000 + "a", "a" + ".b" * 5000, "a" + "[1]" * 5000, "-" * 5000 + "a"],
)
def test_long_chains_are_refused_before_they_are_too_deep(chain: str) -> None:
    for text in (
        f"mlpipe 1\ngate g {{ require {chain} > 1 }}",
        f"mlpipe 1\n@\ngate g {{ require {chain} > 1 }}",
    ):
        found = parse(Source("p", text)).diagnostics
        assert found[-1].code == "MLP103"
        assert "more than 150 operators" in found[-1].message


def test_long_lists_are_not_chains() -> None:
    numbers = ", ".join(f"-{n}" for n in range(1000))
    names = ", ".join(f"a.b[{n}]" for n in range(1000))
    assert parse(Source("p", f"mlpipe 1\nstage s {{ x = [{numbers}], y = f({names}) }}")).diagnostics == ()
