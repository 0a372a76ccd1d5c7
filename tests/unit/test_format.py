"""The canonical form, shown: what goes in, what comes out."""

from __future__ import annotations

import pytest

from mlflowc.diagnostic import Diagnostic
from mlflowc.span import Source
from mlflowc.syntax import ast
from mlflowc.syntax.format import format_expr, format_source
from mlflowc.syntax.parser import parse

# The language's showcase, in canonical form.
SHOWCASE = '''mlpipe 1

pipeline churn

params "params.yaml"

env py {
  python       = "3.11"
  requirements = "requirements.txt"
}

runner a10g {
  gpu     = gpu(1, "A10G", memory = 24GiB)
  cloud   = aws(region = ["us-east-1", "us-west-2"], spot = true)
  timeout = 8h
}

cache { remote = "s3://acme-ml/mlpipe" }

type Customers = csv {
  id:    int unique
  age:   int in 0..120
  plan:  str in ["basic", "plus", "premium", "enterprise"]
  churn: bool
  rows >= 1_000
}

data raw:  Customers = dvc("data/raw.csv.dvc")
data feed: csv       = url("s3://acme-feeds/latest.csv")

stage train {
  in    data = prepare.clean
  param train.*
  out   model:  file                                    = "models/model.pkl"
  out   scores: metrics { accuracy: float, auc: float } = "metrics.json"
  out   curve:  csv { epoch: int, loss: float }         = "plots/loss.csv"
  keep  ckpt                                            = "checkpoints/"
  env    = py
  runner = a10g
  retry  = 2
  run    = "python src/train.py --data {{data}} --out {{model}}"
}

sweep tune over train {
  vary train.lr    in log(1e-5, 1e-2)
  vary train.depth in [4, 6, 8]
  search   = tpe(trials = 40, seed = 7)
  parallel = 4
}

gate quality {
  require train.scores.auc >= 0.80
  require train.scores.auc >= baseline("main").train.scores.auc - 0.005 else "AUC dropped"
}

report review {
  metrics train.scores vs "main"
  params  vs "main"
  plot    train.curve { x = epoch, y = loss, vs = "main" }
  text    """
  Trained on {{prepare.clean.rows}} customers.
  """
}

on pull_request           { run = [quality, review] }
on push("main")           { run = [quality, publish] }
on schedule("17 3 * * *") { refresh = [feed], run = [tune, review] }
on manual                 { input train.epochs: int = 10, run = [train, review] }
'''


def _format(text: str) -> str:
    formatted = format_source(Source("p.mlpipe", text))
    assert isinstance(formatted, str), formatted
    again = format_source(Source("p.mlpipe", formatted))
    assert again == formatted
    return formatted


def _body(text: str) -> str:
    head, _, body = _format("mlpipe 1\n" + text).partition("\n\n")
    assert head == "mlpipe 1"
    return body


def test_showcase_is_canonical() -> None:
    assert _format(SHOWCASE) == SHOWCASE


def test_showcase_squeezed() -> None:
    squeezed = SHOWCASE.replace("\n\n", "\n")
    while "  " in squeezed:
        squeezed = squeezed.replace("  ", " ")
    expected = SHOWCASE.replace("  Trained on", " Trained on").replace(
        'customers.\n  """', 'customers.\n """'
    )
    assert _format(squeezed) == expected


_COLUMNS = [f"column_{n}: float in 0..1" for n in range(5)]
_BOUNDS = [f"train.scores.metric_{n} >= 0.{n}" for n in range(4)]

CASES = {
    "an item a line": ("stage a { in x, param a.b, c.*\n run='' }".replace("''", '""'), """\
stage a {
  in    x
  param a.b
  param c.*
  run = ""
}
"""),
    "long lists": ('stage a { run = ["' + "a" * 60 + '", "' + "b" * 60 + '"] }', f"""\
stage a {{
  run = [
    "{"a" * 60}",
    "{"b" * 60}",
  ]
}}
"""),
    "long calls": ('data x = url("' + "a" * 60 + '", sha256 = "' + "b" * 60 + '")', f"""\
data x = url(
  "{"a" * 60}",
  sha256 = "{"b" * 60}",
)
"""),
    "long columns": (f'stage s {{ out x: csv {{ {", ".join(_COLUMNS)} }} = "x.csv" }}', """\
stage s {
  out x: csv {
    column_0: float in 0..1
    column_1: float in 0..1
    column_2: float in 0..1
    column_3: float in 0..1
    column_4: float in 0..1
  } = "x.csv"
}
"""),
    "long requirements": (f'gate g {{ require {" and ".join(_BOUNDS)} else "no" }}', """\
gate g {
  require train.scores.metric_0 >= 0.0
      and train.scores.metric_1 >= 0.1
      and train.scores.metric_2 >= 0.2
      and train.scores.metric_3 >= 0.3
      else "no"
}
"""),
    "comments everywhere": ("""\
# about a
stage a { # head
# own
in x # behind

# alone

retry = 2 # behind 2
run = [ # list head
"a", # one
# before two
"b"
# end of list
]
# end of block
} # behind block
# end of file
""", """\
# about a
stage a {  # head
  # own
  in x  # behind

  # alone

  retry = 2  # behind 2
  run = [  # list head
    "a",  # one
    # before two
    "b",
    # end of list
  ]
  # end of block
}  # behind block
# end of file
"""),
    "comment in the middle of an item": ("gate g {\nrequire a > 1 # because\n and b > 2\n}", """\
gate g {
  # because
  require a > 1 and b > 2
}
"""),
    "blank lines": ("\n\n\nstage a {\n\n\nin x\n\n\n\nretry = 2\n\n}\nstage b { in y }\n\n\n\n", """\
stage a {
  in x

  retry = 2
}

stage b {
  in y
}
"""),
    "runs end at blank lines": ("env e {\na = 1\n\nlonger = 2\nx = 3\n}", """\
env e {
  a = 1

  longer = 2
  x      = 3
}
"""),
    "declarations of a kind": ('data a = "a"\ndata bcd: csv = "b"\n\ndata e = "e"\nsecret x\nsecret y', """\
data a        = "a"
data bcd: csv = "b"

data e = "e"

secret x
secret y
"""),
    "operators": ("gate g { require not(a+b*c)/-d==e[*] .f [1] or x . y ( 1,z=2 )and true }", """\
gate g {
  require not (a + b * c) / -d == e[*].f[1] or x.y(1, z = 2) and true
}
"""),
    "empty": ("stage a{}\nenv b {\n\n}\ngate c {\n# nothing\n}", """\
stage a {}

env b {}

gate c {
  # nothing
}
"""),
    "types": ('stage a{out x:list[ int ]?="a"\nout e:enum["a","b"]="b"\nin t:dir[csv{a:int? unique}] }', """\
stage a {
  out x: list[int]?      = "a"
  out e: enum ["a", "b"] = "b"
  in  t: dir[csv { a: int? unique }]
}
"""),
    "broken by the author": (
        'params "p.yaml" {\n a: int }\ntype A = csv {\r\n id: int, b: str }\ntype B = csv { id: int,\n b: str'
        ' }\ndata d: csv { \n id: int } = "d"\nstage a { run = [\n"x"], code = ["a",\n"b"]'
        ', out m: metrics {\n f: int } = "m" }\n'
        "stage b = c {\n x = a.m }\nreport r { plot a.m {\n x = f } }\non manual {\n run = [a] }",
        """\
params "p.yaml" {
  a: int
}

type A = csv {
  id: int
  b:  str
}

type B = csv { id: int, b: str }

data d: csv {
  id: int
} = "d"

stage a {
  run = [
    "x",
  ]
  code = ["a", "b"]
  out m: metrics {
    f: int
  } = "m"
}

stage b = c {
  x = a.m
}

report r {
  plot a.m {
    x = f
  }
}

on manual {
  run = [a]
}
"""),
    "instances": ('stage a each x in [ "de" ,"fr" ] = common.job { input=ref.x }\nstage b=job', """\
stage a each x in ["de", "fr"] = common.job { input = ref.x }
stage b = job
"""),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_case(name: str) -> None:
    text, wanted = CASES[name]
    assert _body(text) == wanted


def test_strings_and_numbers_stay_as_written() -> None:
    text = 'mlpipe 1\n\nstage a {\n  x = [1_000, 0.50, 1e-5, 90m, "a\\u0041", """b"""]\n}\n'
    assert _format(text) == text


def test_line_breaks_become_plain_and_mean_the_same() -> None:
    text = 'mlpipe 1\n\nstage a {\n  run = """\n    a\n    b\n    """\n}\n'
    windows = text.replace("\n", "\r\n")
    assert _format(windows) == text
    (decl,) = parse(Source("p", windows)).file.decls
    assert isinstance(decl, ast.BlockDecl)
    (item,) = decl.items
    assert isinstance(item, ast.Setting) and isinstance(item.value, ast.Str)
    assert item.value.value == "a\nb\n"


def test_errors_come_back_instead_of_text() -> None:
    found = format_source(Source("p", "mlpipe 1\nstge a {}\n"))
    assert isinstance(found, tuple)
    assert all(isinstance(d, Diagnostic) for d in found)


def test_expressions_on_one_line() -> None:
    (decl,) = parse(Source("p", 'mlpipe 1\ngate g { require a.b>=baseline( "main" ).a.b-0.5 }')).file.decls
    assert isinstance(decl, ast.BlockDecl)
    (item,) = decl.items
    assert isinstance(item, ast.RequireItem)
    assert format_expr(item.expr) == 'a.b >= baseline("main").a.b - 0.5'
