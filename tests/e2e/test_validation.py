"""Declared types on real files, as a person meets them: `mlpipec run`, `status` and `infer`."""

from __future__ import annotations

import random
from pathlib import Path

import duckdb
import pytest

from tests.support.project import Checkout

PIPELINE = """\
mlpipe 1

pipeline demo

type Customers = csv {
  id:    int   unique
  age:   int   in 0..120
  plan:  str   in ["basic", "plus"]
  spent: float?
  rows >= 2
}

data raw: Customers = "raw.csv"

stage prepare {
  in  raw
  in  extra = "extra.csv"
  out clean: Customers = "out/clean.csv"
  run = "cat {{raw}} {{extra}} > {{clean}}; echo WORKING prepare"
}

stage count {
  in  data = prepare.clean
  out n = "out/n.txt"
  run = "wc -l < {{data}} > {{n}}; echo WORKING count"
}
"""
GOOD = "id,age,plan,spent\n1,30,basic,1.5\n2,40,plus,\n3,50,basic,2\n"


@pytest.fixture
def project(tmp_path: Path) -> Checkout:
    made = Checkout(tmp_path)
    made.write({"pipeline.mlpipe": PIPELINE, "raw.csv": GOOD, "extra.csv": ""})
    return made


def test_good_data_goes_through(project: Checkout) -> None:
    assert project.mlpipec("run").worked == ["prepare", "count"]
    assert "nothing to do" in project.mlpipec("run").out


@pytest.fixture
def columnar(project: Checkout) -> Checkout:
    """The same with Parquet files, which cannot be read without DuckDB."""
    for name in ("raw", "extra", "out/clean"):
        project.replace("pipeline.mlpipe", f"{name}.csv", f"{name}.parquet")
    project.replace("pipeline.mlpipe", "Customers = csv", "Customers = parquet")
    project.replace("pipeline.mlpipe", "cat {{raw}} {{extra}} >", "cp {{raw}}")
    csv = project.path / "raw.csv"
    duckdb.sql(f"COPY (FROM '{csv}') TO '{project.path / 'raw.parquet'}'")
    project.write(
        {"extra.parquet": "", "site/sitecustomize.py": "import sys\nsys.modules['duckdb'] = None\n"}
    )
    return project


def without(project: Checkout) -> dict[str, str]:
    """The environment of a command that finds no DuckDB."""
    return {"PYTHONPATH": str(project.path / "site")}


def test_what_needs_a_library_that_is_not_there_says_so(columnar: Checkout) -> None:
    failed = columnar.mlpipec("run", code=1, **without(columnar))
    assert "to look into `raw.parquet`, `duckdb` is needed, and not installed" in failed.err
    assert "pip install 'mlflowc[data]'" in failed.err
    assert failed.worked == []


def test_unchanged_data_is_not_read_again(columnar: Checkout) -> None:
    assert columnar.mlpipec("run").worked == ["prepare", "count"]
    blind = without(columnar)
    # Other text of the pipeline, and new times: planned anew, and known by content.
    columnar.write({"pipeline.mlpipe": columnar.read("pipeline.mlpipe") + "# so\n"})
    (columnar.path / "raw.parquet").touch()
    assert "nothing to do" in columnar.mlpipec("run", **blind).out
    # The stage runs again for another reason, on data that was checked: what it writes is known, too.
    columnar.write({"extra.parquet": "other"})
    assert columnar.mlpipec("run", **blind).worked == ["prepare"]
    # Without the index (on another machine), the record says what was checked.
    for path in (columnar.path / ".mlpipe").glob("index.db*"):
        path.unlink()
    assert "nothing to do" in columnar.mlpipec("run", **blind).out
    (columnar.path / "out/clean.parquet").unlink()
    assert "1 restored" in columnar.mlpipec("run", **blind).out
    # Another type is another question.
    columnar.replace("pipeline.mlpipe", "0..120", "0..99")
    assert "`duckdb` is needed" in columnar.mlpipec("run", code=1, **blind).err


def test_a_bad_row_that_a_stage_writes_fails_it_with_rule_count_and_line(project: Checkout) -> None:
    project.mlpipec("run")
    project.write({"extra.csv": "3,20,basic,\n4,-1,plus,\n5,200,gold,\n"})
    failed = project.mlpipec("run", code=1)
    assert failed.worked == ["prepare"]
    assert (
        "stage `prepare` failed: output `clean`: `out/clean.csv` is not what `Customers` says"
        " (pipeline.mlpipe:15)\n"
        '  `id` unique: 1 of 6 rows repeats an earlier value (line 5: "3" as in line 4)\n'
        '  `age` in 0..120: 2 of 6 rows (line 6: "-1", line 7: "200")\n'
        '  `plan` in ["basic", "plus"]: 1 of 6 rows (line 7: "gold")\n'
    ) in failed.err
    # In the progress, it is one line.
    assert failed.out.count("is not what `Customers` says") == 1
    assert "`plan`" not in failed.out
    # Nothing of it is a result: the earlier output is back, the bad one is kept for a look.
    assert project.read("out/clean.csv") == GOOD
    assert project.read(".mlpipe/failed/prepare/out/clean.csv") == GOOD + project.read("extra.csv")
    assert project.mlpipec("run", code=1).worked == ["prepare"]
    project.write({"extra.csv": ""})
    assert "nothing to do" in project.mlpipec("run").out


def test_a_data_source_is_checked_before_the_stage_that_reads_it(project: Checkout) -> None:
    project.write({"raw.csv": GOOD.replace("40", "forty").replace("plan", "tariff", 1)})
    failed = project.mlpipec("run", code=1)
    assert failed.worked == []
    assert "data source `raw`: `raw.csv` is not what `Customers` says (pipeline.mlpipe:13)" in failed.err
    assert '`age` is int: 1 of 3 rows (line 3: "forty")' in failed.err
    assert "`plan` is str: the file has no such column; it has `id`, `age`, `tariff`, `spent`" in failed.err
    assert not (project.path / "out").exists()


def test_a_file_of_the_repository_with_a_type_is_checked_too(project: Checkout) -> None:
    project.replace("pipeline.mlpipe", 'in  extra = "extra.csv"', 'in  extra: csv { id: int } = "extra.csv"')
    failed = project.mlpipec("run", code=1)
    assert "input `extra`: `extra.csv` is not what `csv` says (pipeline.mlpipe:15)" in failed.err
    assert "it is empty, without a header" in failed.err


def test_a_type_that_is_narrowed_later_counts_for_results_that_are_there(project: Checkout) -> None:
    project.mlpipec("run")
    project.replace("pipeline.mlpipe", "0..120", "0..45")
    assert "would run prepare: `raw.csv` is not what its type says" in project.mlpipec("run", "--dry").out
    failed = project.mlpipec("run", code=1)
    assert '`age` in 0..45: 1 of 3 rows (line 4: "50")' in failed.err
    # One that is wider, or as good, is no reason to run anything.
    project.replace("pipeline.mlpipe", "0..45", "0..99")
    assert "nothing to do" in project.mlpipec("run").out


def test_a_folder_of_tables_is_checked_file_by_file(project: Checkout) -> None:
    project.write(
        {
            "pipeline.mlpipe": PIPELINE.replace(
                "stage count {",
                'stage split {\n  in  data = prepare.clean\n  out parts: dir[Customers] = "parts/"\n'
                '  run = "mkdir -p {{parts}}; cp {{data}} {{parts}}/a.csv;'
                ' sed s/30/300/ {{data}} > {{parts}}/b.csv"\n}\n\nstage count {',
            )
        }
    )
    failed = project.mlpipec("run", "split", code=1)
    assert '`b.csv`: `age` in 0..120: 1 of 6 rows (line 2: "300")' in failed.err
    assert "`a.csv`" not in failed.err


def test_small_files_need_no_library(project: Checkout) -> None:
    project.write({"site/sitecustomize.py": "import sys\nsys.modules['duckdb'] = None\n"})
    quiet = without(project)
    assert project.mlpipec("run", **quiet).worked == ["prepare", "count"]
    project.write({"raw.csv": GOOD.replace("40", "400")})
    assert "`age` in 0..120" in project.mlpipec("run", code=1, **quiet).err


def test_a_large_file_is_streamed(project: Checkout) -> None:
    """20 MB in text, with a bad row near its end."""
    chance = random.Random(3)
    lines = [f"{n},{chance.randrange(100)},basic,{chance.random()}\n" for n in range(600_000)]
    lines[500_000] = "7,30,basic,1\n"
    (project.path / "raw.csv").write_text("id,age,plan,spent\n" + "".join(lines))
    failed = project.mlpipec("run", code=1)
    assert (
        '`id` unique: 1 of 600,000 rows repeats an earlier value (line 500002: "7" as in line 9)'
    ) in failed.err
    assert failed.worked == []
