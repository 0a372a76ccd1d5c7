"""The TextMate grammar, run by an engine: what colours a whole file gets."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from textmate_grammar.parsers.base import LanguageParser

from mlflowc.syntax import places
from mlflowc.syntax.units import UNITS

_EXTENSION = Path(__file__).parents[2] / "grammar" / "editors" / "vscode"
_SOURCE = '''mlpipe 1
# A comment with a "string"
pipeline churn
use "./common.mlpipe" as common
params "params.yaml" { train.lr: float in 0.0..1.0 }
cache { remote = "s3://acme-ml/mlpipe" }
type Customers = csv {
  id:    int unique
  plan:  str in ["basic", "plus"]
  share: float null <= 5%
  rows >= 1_000
}
data raw: Customers = dvc("data/raw.csv.dvc")
stage train each lang in ["de", "fr"] {
  in    data = prepare.clean
  param train.*
  out   scores: metrics { auc: float } = "metrics.json"
  timeout = 8h
  memory  = 16GiB
  run     = "python train.py {{data}} \\"quoted\\""
}
sweep tune over train {
  vary train.lr in log(1e-5, 1e-2)
}
gate quality {
  require train.scores.auc >= 0.80 and not false else "AUC dropped"
}
report review {
  metrics train.scores vs "main"
  text """
  Trained on {{prepare.clean.rows}} customers.  # no comment
  """
}
on push("main") { run = [quality] }
'''


@pytest.fixture(scope="module")
def tokens() -> list[tuple[int, str, str]]:
    grammar = json.loads((_EXTENSION / "syntaxes" / "mlpipe.tmLanguage.json").read_text())
    element = LanguageParser(grammar).parse_string(_SOURCE)
    assert element is not None
    return [(line + 1, text, " ".join(scopes)) for (line, _), text, scopes in element.flatten()]


@pytest.mark.parametrize(
    ("line", "text", "scope"),
    [
        (1, "mlpipe", "keyword.control.edition"),
        (2, '# A comment with a "string"', "comment.line"),
        (3, "churn", "entity.name.function"),
        (4, "use", "keyword.declaration"),
        (4, "as", "keyword.operator.word"),
        (5, "params", "keyword.declaration"),
        (5, "train.lr", "variable.other.property"),
        (5, "float", "support.type"),
        (5, "..", "keyword.operator.range"),
        (6, "remote", "variable.parameter.setting"),
        (7, "Customers", "entity.name.type"),
        (7, "csv", "support.type"),
        (8, "id", "variable.other.property"),
        (8, "int", "support.type"),
        (8, "unique", "keyword.operator.word"),
        (9, "in", "keyword.operator.word"),
        (9, '"basic"', "string.quoted.double"),
        (10, "%", "keyword.other.unit"),
        (11, "rows", "keyword.operator.word"),
        (11, "1_000", "constant.numeric"),
        (13, "raw", "variable.other.data"),
        (13, "Customers", "entity.name.type"),
        (13, "dvc", "support.function"),
        (14, "stage", "keyword.declaration"),
        (14, "train", "entity.name.function"),
        (14, "each", "keyword.operator.word"),
        (15, "in", "keyword.control.item"),
        (15, "data", "variable.other.item"),
        (15, "prepare.clean", "variable.other"),
        (16, "train.*", "variable.other.item"),
        (17, "metrics", "support.type"),
        (17, "auc", "variable.other.property"),
        (17, "scores", "variable.other.item"),
        (18, "timeout", "variable.parameter.setting"),
        (18, "h", "keyword.other.unit"),
        (19, "GiB", "keyword.other.unit"),
        (20, "data", "variable.other.placeholder"),
        (20, '\\"', "constant.character.escape"),
        (22, "over", "keyword.operator.word"),
        (23, "vary", "keyword.control.item"),
        (23, "1e-5", "constant.numeric"),
        (26, "require", "keyword.control.item"),
        (26, ">=", "keyword.operator.comparison"),
        (26, "and", "keyword.operator.word"),
        (26, "false", "constant.language.boolean"),
        (26, '"AUC dropped"', "string.quoted.double"),
        (29, "metrics", "keyword.control.item"),
        (29, "vs", "keyword.operator.word"),
        (31, "prepare.clean.rows", "variable.other.placeholder"),
        (34, "push", "entity.name.tag.event"),
        (34, "quality", "variable.other"),
    ],
)
def test_scope(tokens: list[tuple[int, str, str]], line: int, text: str, scope: str) -> None:
    found = [scopes for at, content, scopes in tokens if at == line and content.strip() == text]
    assert any(scope in scopes for scopes in found), [t for t in tokens if t[0] == line]


def test_text_of_several_lines_is_string_all_over(tokens: list[tuple[int, str, str]]) -> None:
    inside = [scopes for line, text, scopes in tokens if line == 31 and text.strip()]
    assert inside and all("string.quoted.triple" in scopes for scopes in inside)


def test_every_keyword_and_unit_is_known_to_the_grammar() -> None:
    text = (_EXTENSION / "syntaxes" / "mlpipe.tmLanguage.json").read_text()
    words = set(re.findall(r"[a-z]+", text))
    assert {*places.DECLARATIONS, *places.ANY_ITEM} <= words
    number = json.loads(text)["repository"]["number"]["match"]
    for unit in UNITS:
        assert re.fullmatch(number, f"12{unit}"), unit


def test_extension_names_files_that_exist() -> None:
    package: dict[str, Any] = json.loads((_EXTENSION / "package.json").read_text())
    contributes = package["contributes"]
    files = [contributes["languages"][0]["configuration"], contributes["grammars"][0]["path"]]
    for file in files:
        json.loads((_EXTENSION / file).read_text())
    assert contributes["grammars"][0]["scopeName"] == "source.mlpipe"
