"""The kept parser table: the same parser with and without it, whatever state the file is in."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlflowc.span import Source
from mlflowc.syntax import parser
from tests.support.programs import bare

_TEXT = (
    "mlpipe 1\nstage a {  # c\n  in x: csv { id: int }\n  run = 'no\n}\ngate g { require a.b > 1\n  and c }\n"
)


def _forget() -> None:
    parser._driver.cache_clear()
    parser._lark.cache_clear()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    _forget()
    yield tmp_path / "mlpipec"
    _forget()


def _parsed() -> tuple[object, ...]:
    _forget()
    found = parser.parse(Source("p", _TEXT))
    return bare(found.file), found.file.comments, found.diagnostics


def test_kept_and_read_again(folder: Path) -> None:
    made = _parsed()
    (file,) = folder.iterdir()
    before = file.stat().st_mtime_ns
    assert _parsed() == made
    assert file.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "content",
    [b"", b"noise", pickle.dumps({"data": {}, "memo": {}}), pickle.dumps(Path("x"))],
    ids=["empty", "noise", "hollow", "foreign"],
)
def test_a_broken_file_is_replaced(folder: Path, content: bytes) -> None:
    made = _parsed()
    (file,) = folder.iterdir()
    file.write_bytes(content)
    assert _parsed() == made
    assert len(file.read_bytes()) > len(content) + 10_000
    mended = file.stat().st_mtime_ns
    assert _parsed() == made
    assert file.stat().st_mtime_ns == mended


def test_nothing_is_run_that_a_file_wants_run(folder: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str, ...]]:
            return (exec, ("raise SystemExit('ran')",))

    _parsed()
    (file,) = folder.iterdir()
    file.write_bytes(pickle.dumps(Evil()))
    _parsed()


def test_a_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert _parsed()
    _forget()
