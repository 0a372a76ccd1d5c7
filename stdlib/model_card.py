"""Writes a model card in Markdown: `std/model_card` runs this. Python 3.9 or later, and nothing else.

Metrics in YAML need PyYAML, and of a Parquet file rows and columns are told where there is pyarrow.
"""

import argparse
import csv
import hashlib
import json
import os
import sys

csv.field_size_limit(2**31 - 1)
MOST_COLUMNS = 100


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("card")
    parser.add_argument("--metrics", nargs="+", required=True)
    parser.add_argument("--inputs", type=json.loads, default={})
    parser.add_argument("--params", type=json.loads, default={})
    parser.add_argument("--title", required=True)
    parser.add_argument("--description", default="")
    parser.add_argument("--version", default="")
    parser.add_argument("--license", default="")
    parser.add_argument("--authors", nargs="*", default=[])
    parser.add_argument("--tags", nargs="*", default=[])
    options = parser.parse_args()
    os.makedirs(os.path.dirname(options.card) or ".", exist_ok=True)
    with open(options.card, "w", encoding="utf-8") as file:
        file.write(card(options))


def stop(message):
    """Ends with a message and exit code 1."""
    sys.exit(f"model_card: {message}")


def card(options):
    """The text of the card."""
    notes, files = [], []
    for name, paths in options.inputs.items():
        for path in paths if isinstance(paths, list) else [paths]:
            (notes if path.endswith((".md", ".markdown")) else files).append((name, path))
    parts = [*front_matter(options), f"# {options.title}"]
    if options.description:
        parts.append(options.description.strip())
    facts = [
        ("Version", options.version),
        ("License", options.license),
        ("Authors", ", ".join(options.authors)),
    ]
    parts.append("\n".join(f"- {name}: {value}" for name, value in facts if value))
    parts += [
        "## Metrics",
        *(part for path in options.metrics for part in metrics(path, len(options.metrics))),
    ]
    given = list(flat(options.params))
    if given:
        parts += ["## Parameters", table(("parameter", "value"), [(f"`{n}`", spelled(v)) for n, v in given])]
    if files:
        described = [(name, path, *describe(path)) for name, path in files]
        rows = [(name, f"`{p}`", what, f"`{digest}`") for name, p, what, digest, _ in described]
        parts += ["## Files", table(("", "file", "what it holds", "sha256"), rows)]
        for name, path, _, _, columns in described:
            if columns:
                parts += [f"### Columns of {name}", f"Of `{path}`:", columns_table(columns)]
    for _, path in notes:
        with open(path, encoding="utf-8-sig") as file:
            parts.append(file.read().strip())
    if not notes:
        parts += ["## Intended use and limits", "Not stated."]
    return "\n\n".join(p for p in parts if p) + "\n"


def front_matter(options):
    """The head that model hubs read; JSON is YAML, too."""
    lines = []
    if options.license:
        lines.append(f"license: {json.dumps(options.license, ensure_ascii=False)}")
    if options.tags:
        lines.append(f"tags: {json.dumps(options.tags, ensure_ascii=False)}")
    return ["\n".join(["---", *lines, "---"])] if lines else []


def metrics(path, count):
    found = list(flat(load(path)))
    rows = [(f"`{name}`", spelled(value)) for name, value in found]
    return [*([f"From `{path}`:"] if count > 1 else []), table(("metric", "value"), rows)]


def load(path):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    try:
        if not path.endswith((".yaml", ".yml")):
            return json.loads(text)
        import yaml

        return yaml.safe_load(text)
    except ImportError:
        stop(f"{path}: for YAML the stage's env needs pyyaml")
    except ValueError as e:
        stop(f"{path} cannot be read: {e}")


def flat(values, before=""):
    """Names with dots, and values, in the order of the names."""
    for name in sorted(values):
        value = values[name]
        if isinstance(value, dict):
            yield from flat(value, f"{before}{name}.")
        else:
            yield before + name, value


def spelled(value):
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "none"}[value]
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(map(spelled, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def table(heads, rows):
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "\n".join("| " + " | ".join(map(escaped, line)) + " |" for line in lines)


def escaped(text):
    return str(text).replace("|", "\\|").replace("\n", " ")


# --- files


def describe(path):
    """What the file or folder holds, its digest, and a table's columns: `(name, values, missing)` each."""
    if os.path.isdir(path):
        inner = sorted(os.path.join(at, name) for at, _, names in os.walk(path) for name in names)
        whole = hashlib.sha256()
        for one in inner:
            whole.update(f"{os.path.relpath(one, path)}\0{digest(one)}\n".encode())
        size = sum(os.path.getsize(one) for one in inner)
        return f"{len(inner):,} files, {sized(size)}", whole.hexdigest()[:12], []
    size, columns, rows = sized(os.path.getsize(path)), [], None
    ending = os.path.splitext(path)[1].lower()
    try:
        if ending in (".csv", ".tsv"):
            rows, columns = text_columns(path, "\t" if ending == ".tsv" else ",")
        elif ending in (".jsonl", ".ndjson"):
            rows, columns = line_columns(path)
        elif ending == ".parquet":
            rows, columns = parquet_columns(path)
    except (UnicodeDecodeError, csv.Error, ValueError) as e:
        stop(f"{path} cannot be read: {e}")
    told = size if rows is None else f"{rows:,} rows, {len(columns)} columns, {size}"
    return told, digest(path)[:12], columns


def digest(path):
    found = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            found.update(block)
    return found.hexdigest()


def sized(size):
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:,} B" if unit == "B" else f"{size:,.1f} {unit}"
        size /= 1000


def text_columns(path, delimiter):
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, delimiter=delimiter)
        names = next(rows, [])
        missing, count = [0] * len(names), 0
        for row in rows:
            if row:
                count += 1
                for n, text in enumerate(row[: len(names)]):
                    missing[n] += not text.strip()
    return count, [(name, count, absent) for name, absent in zip(names, missing)]


def line_columns(path):
    present, count = {}, 0
    with open(path, encoding="utf-8-sig") as file:
        for line in file:
            if line.strip():
                count += 1
                for name, value in json.loads(line).items():
                    present[name] = present.get(name, 0) + (value is not None)
    return count, [(name, count, count - n) for name, n in present.items()]


def parquet_columns(path):
    try:
        from pyarrow import parquet
    except ImportError:
        return None, []
    read = parquet.read_table(path)
    return read.num_rows, [(n, read.num_rows, read.column(n).null_count) for n in read.column_names]


def columns_table(columns):
    rows = [(f"`{name}`", f"{absent / count:.1%}" if count else "") for name, count, absent in columns]
    more = len(rows) - MOST_COLUMNS
    shown = table(("column", "missing"), rows[:MOST_COLUMNS])
    return shown + (f"\n\n… and {more:,} more." if more > 0 else "")


if __name__ == "__main__":
    main()
