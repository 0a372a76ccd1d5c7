"""The words of a command, read from the source so that a finding can point at them."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflowc.check.shellwords import Command, read
from mlflowc.span import Source, Span


def command(literal: str) -> tuple[Source, Command]:
    source = Source("a", f"run = {literal}\n")
    return source, read(source, Span("a", 6, 6 + len(literal)))


@pytest.mark.parametrize(
    ("literal", "words"),
    [
        ('"python src/a.py --x 1"', ["python", "src/a.py", "--x", "1"]),
        ('"a && b || c; d | e"', ["a", "b", "c", "d", "e"]),
        (r'"echo \"a b\" c"', ["echo", "a b", "c"]),
        (r'"a\nb"', ["a", "b"]),
        ('"""\n  a b\n  # not c\n  d\n"""', ["a", "b", "d"]),
        ("\"echo 'a;b' x#y\"", ["echo", "a;b", "x#y"]),
        ('"a 2>&1 &> f >> g"', ["a", "2", "1", "f", "g"]),
        (r'"echo \"{\\\"auc\\\": 1}\" > f"', ["echo", '{"auc": 1}', "f"]),
        (r'"a \"b\\\\c \\$d \\`e \\x\" f"', ["a", r"b\c $d `e \x", "f"]),
        (r'"a \"b\\\\\" c"', ["a", "b\\", "c"]),
        (r'''"a 'b\\' c"''', ["a", "b\\", "c"]),
        ('"""\n  a "b \\\\\n  c" d\n"""', ["a", "b   c", "d"]),
        ('""', []),
        ('"""\n  a b \\\n    --c\n  d\n"""', ["a", "b", "--c", "d"]),
        ('"""\n  a b \\\\\n    --c\n"""', ["a", "b", "--c"]),
        (r'"a\\ b c"', ["a b", "c"]),
        ('"a {{b c}} d"', ["a", "", "d"]),
        ('"a {{b"', ["a", "{{b"]),
    ],
)
def test_words(literal: str, words: list[str]) -> None:
    assert [word.text for word in command(literal)[1].words] == words


def test_first_words_and_what_glues_them() -> None:
    words = command('"a b && c || d & e; f | g\\nh"')[1].words
    assert [(w.text, w.glue) for w in words if w.first] == [
        ("a", ""),
        ("c", "&&"),
        ("d", "||"),
        ("e", "&"),
        ("f", ";"),
        ("g", "|"),
        ("h", "\n"),
    ]


def test_words_that_the_shell_completes_are_open() -> None:
    words = command('"a $b `c` *.py {{x}} p{{y}} \'$d\' \\"$e\\""')[1].words
    assert [word.open for word in words] == [False, True, True, True, True, True, False, True]


def test_spans_point_at_the_words() -> None:
    source, found = command("\"python 'src/a b.py' {{x}}\"")
    assert [source.text[w.span.start : w.span.end] for w in found.words] == [
        "python",
        "'src/a b.py'",
        "{{x}}",
    ]


def test_placeholders_between_quotes() -> None:
    source, found = command('"a \'{{x}}\' {{y}} \\"b{{z}}\\""')
    assert [(source.text[q.span.start : q.span.end], q.quote) for q in found.quoted] == [
        ("{{x}}", "'"),
        ("{{z}}", '"'),
    ]


def test_an_escaped_quote_does_not_end_the_quotes() -> None:
    _, found = command(r'"echo \"{\\\"auc\\\": 1}\" > {{o}}; echo \"a \\\" {{p}}\""')
    assert [q.quote for q in found.quoted] == ['"']
    assert not any(w.open for w in command(r'"echo \"\\$x \\`y\""')[1].words)


@pytest.mark.parametrize(
    ("command_text", "quoted"),
    [
        ('printf %s "$(wc -l < {{a}})" > {{b}}', ""),
        ('x "$(cat {{a}}) {{b}}"', "b"),
        ('x "$(cat "{{a}}" {{b}}) {{c}}" {{d}}', "ac"),
        ("x \"$(cat '{{a}}' {{b}} '\\\")' {{c}})\" {{d}}", "a"),
        ('x "$(( $(wc -l < {{a}}) - 1 )) {{b}}" {{c}}', "b"),
        ('x "$(a "$(b {{a}} "{{b}}")" {{c}})" {{d}}', "b"),
        ('x "`cat {{a}}` {{b}}" {{c}}', "b"),
        ('x "$(a `b {{a}}` {{b}})" {{c}}', ""),
        ('x "$(a \\\\) {{a}})" {{b}} "$c {{c}}"', "c"),
        ('x "${Y:-{{a}}}" {{b}}', "a"),
        ('x "$(cat {{a}} "{{b}}" {{c}}', "b"),
        ("x '$(cat {{a}})' '`{{b}}`' {{c}}", "ab"),
    ],
)
def test_quotes_begin_anew_in_a_command_between_quotes(command_text: str, quoted: str) -> None:
    source, found = command(f'"""\n{command_text}\n"""')
    assert "".join(source.text[q.span.start + 2] for q in found.quoted) == quoted


@pytest.mark.parametrize("mark", ["$(", '$("', "`$("])
def test_commands_in_commands_without_end(mark: str) -> None:
    _, found = command('"""\nx "' + mark * 20_000 + '{{a}}\n"""')
    assert [w.text for w in found.words if w.first] == ["x"]


@given(st.lists(st.text("abc./-_=09 ;'", min_size=1, max_size=8), max_size=6))
def test_quoted_words_are_read_as_the_shell_reads_them(words: list[str]) -> None:
    literal = '"' + shlex.join(words).replace("\\", "\\\\").replace('"', '\\"') + '"'
    assert [word.text for word in command(literal)[1].words] == words


@given(st.text("ab '\"{}()`\\;|&#$<>\n", max_size=30))
def test_any_text_is_read(text: str) -> None:
    source, found = command('"""' + text + '"""')
    for word in found.words:
        assert 6 <= word.span.start <= word.span.end <= len(source.text)
