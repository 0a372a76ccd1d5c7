"""Diagnostics for machines: JSON, SARIF, GitHub, GitLab."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from mlflowc.diagnostic import Check, Diagnostic, Edit, Fix, Label, Severity
from mlflowc.render import github, gitlab, order, sarif
from mlflowc.render import json as json_format
from mlflowc.span import Source, Span

DATA = Path(__file__).parent.parent / "data"
CHECK = Check("MLP328", Severity.ERROR, "an input that does not exist", "Why.\n\nBecause.")
LINT = Check("MLP401", Severity.WARNING, "a schedule at the full hour", "Why.")
SOURCE = Source("sub dir/pipe.mlpipe", 'mlpipe 1\nin raw = "dåta"\n')
SOURCES = {SOURCE.name: SOURCE}
AT = SOURCE.text.index('"dåta"')
FOUND = Diagnostic.of(
    CHECK,
    "there is no `dåta`: 100%",
    Span(SOURCE.name, AT, AT + 6),
    label="not found",
    related=(Label(Span(SOURCE.name, 0, 6), "in this,\nfile"), Label(Span("gone.yaml", 3, 4), "")),
    help="write `data`",
    fix=Fix("write `data`", (Edit(Span(SOURCE.name, AT, AT + 6), '"data"'),)),
)
WHOLE = Diagnostic.of(LINT, "all of it", Span(SOURCE.name, 0, len(SOURCE.text)))
LOST = Diagnostic.of(LINT, "elsewhere", Span("gone.yaml", 3, 4))


def test_json_is_stable() -> None:
    document = json.loads(json_format.render([FOUND, LOST], SOURCES))
    assert document["version"] == 1
    assert document["counts"] == {"error": 1, "warning": 1}
    first, second = document["diagnostics"]
    place = {
        "start": {"offset": AT, "line": 2, "column": 10},
        "end": {"offset": AT + 6, "line": 2, "column": 16},
    }
    assert first == {
        "code": "MLP328",
        "severity": "error",
        "message": "there is no `dåta`: 100%",
        "file": SOURCE.name,
        "range": place,
        "label": "not found",
        "related": [
            {
                "file": SOURCE.name,
                "range": {
                    "start": {"offset": 0, "line": 1, "column": 1},
                    "end": {"offset": 6, "line": 1, "column": 7},
                },
                "text": "in this,\nfile",
            },
            {"file": "gone.yaml", "range": None, "text": ""},
        ],
        "help": "write `data`",
        "fix": {"title": "write `data`", "edits": [{"file": SOURCE.name, "range": place, "text": '"data"'}]},
    }
    assert second["range"] is None and second["fix"] is None


@pytest.mark.parametrize("diagnostics", [[], [FOUND], [FOUND, WHOLE, LOST, FOUND]], ids=len)
def test_sarif_follows_the_official_schema(diagnostics: list[Diagnostic]) -> None:
    log = json.loads(sarif.render(diagnostics, SOURCES, [LINT, CHECK], prefix="ml/"))
    schema = json.loads((DATA / "sarif-2.1.0-rtm.5.json").read_text())
    jsonschema.validate(log, schema, format_checker=jsonschema.FormatChecker())
    rules = log["runs"][0]["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["MLP328", "MLP401"]
    assert rules[0]["help"]["markdown"] == "Why.\n\nBecause."
    for result in log["runs"][0]["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]


def test_sarif_places_and_fixes() -> None:
    (result,) = json.loads(sarif.render([FOUND], SOURCES, [CHECK], prefix="ml/"))["runs"][0]["results"]
    physical = result["locations"][0]["physicalLocation"]
    assert physical["artifactLocation"]["uri"] == "ml/sub%20dir/pipe.mlpipe"
    assert physical["region"] == {"startLine": 2, "startColumn": 10, "endLine": 2, "endColumn": 16}
    (change,) = result["fixes"][0]["artifactChanges"]
    assert change["replacements"] == [
        {"deletedRegion": physical["region"], "insertedContent": {"text": '"data"'}}
    ]
    assert result["relatedLocations"][0]["message"]["text"] == "in this,\nfile"


def test_a_finding_keeps_its_fingerprint_when_lines_are_added_above() -> None:
    moved = Source(SOURCE.name, "# a comment\n" + SOURCE.text)
    later = Diagnostic.of(CHECK, FOUND.message, Span(SOURCE.name, AT + 12, AT + 18))
    for render in (
        lambda d, s: json.loads(sarif.render([d], s, [CHECK]))["runs"][0]["results"][0][
            "partialFingerprints"
        ],
        lambda d, s: json.loads(gitlab.render([d], s))[0]["fingerprint"],
    ):
        assert render(FOUND, SOURCES) == render(later, {moved.name: moved})


def test_github_escapes_what_its_commands_would_take_for_syntax() -> None:
    out = github.render([FOUND], SOURCES, prefix="a,b:c%/")
    assert out == (
        "::error file=a%2Cb%3Ac%25/sub dir/pipe.mlpipe,line=2,endLine=2,col=10,endColumn=16,title=MLP328::"
        "there is no `dåta`: 100%25%0Asub dir/pipe.mlpipe:1: in this,%0Afile%0Agone.yaml%0A"
        "help: write `data`\n"
    )


def test_github_gives_no_columns_for_several_lines_and_no_line_for_an_unread_file() -> None:
    whole, lost = github.render([WHOLE, LOST], SOURCES).splitlines()
    assert whole.startswith("::warning file=sub dir/pipe.mlpipe,line=1,endLine=3,title=MLP401::")
    assert lost == "::warning file=gone.yaml,title=MLP401::elsewhere"


def test_gitlab_has_what_code_quality_asks_for() -> None:
    issues = json.loads(gitlab.render([FOUND, FOUND, LOST], SOURCES, prefix="ml/"))
    assert [issue["severity"] for issue in issues] == ["major", "major", "minor"]
    assert issues[0]["location"] == {"path": "ml/sub dir/pipe.mlpipe", "lines": {"begin": 2, "end": 2}}
    assert issues[0]["check_name"] == "MLP328"
    assert len({issue["fingerprint"] for issue in issues}) == 3


def test_order_is_by_file_place_and_severity() -> None:
    late = Diagnostic.of(LINT, "b", Span("a.mlpipe", 9, 9))
    early = Diagnostic.of(LINT, "a", Span("a.mlpipe", 1, 9))
    worse = Diagnostic.of(CHECK, "a", Span("a.mlpipe", 1, 2))
    main = Diagnostic.of(LINT, "a", Span("z.mlpipe", 5, 9))
    assert order.in_order([late, early, worse, main], ["z.mlpipe"]) == [main, worse, early, late]
