"""`mlpipec fmt`, through the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_UGLY = "mlpipe 1\nstage a { in x  # why\n   retry=2 }\n"
_FINE = "mlpipe 1\n\nstage a {\n  in x  # why\n  retry = 2\n}\n"


def _fmt(
    folder: Path, *args: str, stdin: bytes = b"", colour: bool = False
) -> subprocess.CompletedProcess[bytes]:
    environment = {"PATH": "/usr/bin:/bin", "FORCE_COLOR" if colour else "NO_COLOR": "1", "COLUMNS": "80"}
    command = [sys.executable, "-c", "from mlflowc.cli import main; main()", "fmt", *args]
    return subprocess.run(command, cwd=folder, input=stdin, capture_output=True, env=environment, check=False)


def test_in_place_keeps_mode_and_says_so(tmp_path: Path) -> None:
    file = tmp_path / "p.mlpipe"
    file.write_text(_UGLY)
    file.chmod(0o640)
    done = _fmt(tmp_path)
    assert (done.returncode, done.stdout) == (0, b"formatted p.mlpipe\n")
    assert file.read_text() == _FINE
    assert file.stat().st_mode & 0o777 == 0o640
    assert [p.name for p in tmp_path.iterdir()] == ["p.mlpipe"]
    again = _fmt(tmp_path)
    assert (again.returncode, again.stdout) == (0, b"")


def test_check_names_files_and_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.mlpipe").write_text(_UGLY)
    (tmp_path / "b.mlpipe").write_text(_FINE)
    done = _fmt(tmp_path, "--check")
    assert (done.returncode, done.stdout) == (1, b"a.mlpipe\n")
    assert b"1 file would be reformatted" in done.stderr
    assert (tmp_path / "a.mlpipe").read_text() == _UGLY
    assert _fmt(tmp_path, "--check", "b.mlpipe").returncode == 0


def test_diff(tmp_path: Path) -> None:
    (tmp_path / "a.mlpipe").write_text(_UGLY)
    plain = _fmt(tmp_path, "--diff", "a.mlpipe").stdout.decode()
    assert "-   retry=2 }\n" in plain and "+  retry = 2\n" in plain
    assert "\x1b[32m+  retry = 2" in _fmt(tmp_path, "--diff", colour=True).stdout.decode()
    assert (tmp_path / "a.mlpipe").read_text() == _UGLY


def test_standard_input(tmp_path: Path) -> None:
    done = _fmt(tmp_path, "-", stdin=_UGLY.encode())
    assert (done.returncode, done.stdout.decode()) == (0, _FINE)


def test_nothing_is_written_where_there_are_errors(tmp_path: Path) -> None:
    (tmp_path / "a.mlpipe").write_text("mlpipe 1\nstge a { in x }\n")
    (tmp_path / "b.mlpipe").write_text(_UGLY)
    done = _fmt(tmp_path)
    assert done.returncode == 1
    assert b"did you mean `stage`?" in done.stderr and b"a.mlpipe:2:1" in done.stderr
    assert (tmp_path / "a.mlpipe").read_text() == "mlpipe 1\nstge a { in x }\n"
    assert (tmp_path / "b.mlpipe").read_text() == _FINE
    assert _fmt(tmp_path, "-", stdin=b"mlpipe 1\n}").stdout == b""


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"mlpipe 1\n\xff", b"is not UTF-8: byte 0xFF at offset 9 (line 2, column 1)"), (b"", b"which edition")],
)
def test_bad_bytes(tmp_path: Path, data: bytes, words: bytes) -> None:
    (tmp_path / "a.mlpipe").write_bytes(data)
    done = _fmt(tmp_path, "a.mlpipe")
    assert done.returncode == 1
    assert words in done.stderr
    assert (tmp_path / "a.mlpipe").read_bytes() == data


def test_marks_and_line_ends_of_other_systems(tmp_path: Path) -> None:
    file = tmp_path / "a.mlpipe"
    file.write_bytes(b"\xef\xbb\xbf" + _FINE.replace("\n", "\r\n").encode())
    assert _fmt(tmp_path, "--check").returncode == 1
    assert _fmt(tmp_path).returncode == 0
    assert file.read_bytes() == _FINE.encode()


def test_folders_and_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "sub" / ".hidden").mkdir(parents=True)
    for place in ("sub/a.mlpipe", "sub/.hidden/b.mlpipe"):
        (tmp_path / place).write_text(_UGLY)
    assert _fmt(tmp_path, "sub").stdout == b"formatted sub/a.mlpipe\n"
    nothing = _fmt(tmp_path)
    assert nothing.returncode == 1 and b"no `.mlpipe` file here" in nothing.stderr
    missing = _fmt(tmp_path, "no.mlpipe")
    assert missing.returncode == 1 and b"cannot read `no.mlpipe`" in missing.stderr
    assert _fmt(tmp_path, "-", "x").returncode == 2


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target = tmp_path / "real" / "a.mlpipe"
    target.write_text(_UGLY)
    (tmp_path / "a.mlpipe").symlink_to(target)
    assert _fmt(tmp_path, "a.mlpipe").returncode == 0
    assert (tmp_path / "a.mlpipe").is_symlink()
    assert target.read_text() == _FINE
