"""Compares two tables column by column: `std/drift` runs this. Python 3.9 or later; Parquet needs pyarrow.

The population stability index (PSI) is the sum of (c - r) * ln(c / r) over bins, where r and c are the
shares of the bin in the reference and in the current table. Numbers are binned at the quantiles of the
reference; missing values are a bin of their own. Beside it stands a test: Kolmogorov and Smirnov's for
numbers, chi-squared for categories. A large table makes every p-value small, so the PSI decides.
"""

import argparse
import bisect
import collections
import csv
import json
import math
import os
import sys

MISSING = frozenset(("", "na", "n/a", "nan", "null", "none"))
# The share that an empty bin counts with: a logarithm of nothing would be endless.
FLOOR = 1e-4
# More categories than these are taken together: by the most frequent ones of the reference.
MOST_CATEGORIES = 50
OTHER = "(other)"
FIELDS = (
    "column",
    "kind",
    "psi",
    "drifted",
    "test",
    "statistic",
    "p_value",
    "missing_reference",
    "missing_current",
    "mean_reference",
    "mean_current",
)
csv.field_size_limit(2**31 - 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("reference")
    parser.add_argument("current")
    parser.add_argument("--summary", required=True)
    parser.add_argument("--by-column", required=True)
    parser.add_argument("--shares", required=True)
    parser.add_argument("--bins", type=int, default=10)
    parser.add_argument("--limit", type=float, default=0.2)
    parser.add_argument("--columns", nargs="*", default=[])
    parser.add_argument("--categorical", nargs="*", default=[])
    options = parser.parse_args()
    reference, rows_reference = read(options.reference)
    current, rows_current = read(options.current)
    for name, rows in ((options.reference, rows_reference), (options.current, rows_current)):
        if not rows:
            stop(f"{name} has no rows: nothing can be said of its values")
    wanted = options.columns or [c for c in reference if c in current]
    for name in [*options.columns, *options.categorical]:
        for path, table in ((options.reference, reference), (options.current, current)):
            if name not in table:
                stop(f"{path} has no column {name!r}; it has {', '.join(table)}")
    if not wanted:
        stop(f"{options.reference} and {options.current} have no column in common")
    found = [
        compare(name, reference[name], current[name], options.bins, name in options.categorical)
        for name in dict.fromkeys(wanted)
    ]
    for column in found:
        column["drifted"] = column["psi"] >= options.limit
    write(options, found, reference, current, (rows_reference, rows_current))
    drifted = [c["column"] for c in found if c["drifted"]]
    print(f"{len(drifted)} of {len(found)} columns drifted" + (f": {', '.join(drifted)}" if drifted else ""))


def stop(message):
    """Ends with a message and exit code 1."""
    sys.exit(f"drift: {message}")


# --- reading: a table is its columns, each a list of texts, numbers, or None where there is no value


def read(path):
    """The columns of the table at `path` in their order, and the number of rows."""
    ending = os.path.splitext(path)[1].lower()
    try:
        if ending in (".csv", ".tsv"):
            return read_text(path, "\t" if ending == ".tsv" else ",")
        if ending in (".jsonl", ".ndjson"):
            return read_lines(path)
        if ending in (".parquet", ".arrow", ".feather"):
            return read_arrow(path, ending)
    except (UnicodeDecodeError, csv.Error, ValueError) as e:
        stop(f"{path} cannot be read: {e}")
    stop(f"{path}: a table ends in .csv, .tsv, .jsonl, .parquet or .arrow")


def read_text(path, delimiter):
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, delimiter=delimiter)
        names = next(rows, [])
        if len(set(names)) < len(names):
            stop(f"{path} has two columns of one name")
        columns = [[] for _ in names]
        for row in rows:
            if not row:
                continue
            if len(row) != len(names):
                stop(f"{path}, line {rows.line_num}: {len(row)} values, and there are {len(names)} columns")
            for column, text in zip(columns, row):
                column.append(None if text.strip().lower() in MISSING else text)
    return dict(zip(names, columns)), len(columns[0]) if columns else 0


def read_lines(path):
    columns, count = {}, 0
    with open(path, encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            row = json.loads(line)
            if not isinstance(row, dict):
                stop(f"{path}, line {number}: an object is wanted")
            for name in row:
                columns.setdefault(name, [None] * count)
            count += 1
            for name, column in columns.items():
                column.append(scalar(row.get(name)))
    return columns, count


def read_arrow(path, ending):
    try:
        if ending == ".parquet":
            from pyarrow import parquet

            table = parquet.read_table(path)
        else:
            from pyarrow import feather

            table = feather.read_table(path)
    except ImportError:
        stop(f"{path}: for this kind of table the stage's env needs pyarrow")
    except OSError as e:
        stop(f"{path} cannot be read: {e}")
    columns = {n: [scalar(v) for v in table.column(n).to_pylist()] for n in table.column_names}
    return columns, table.num_rows


def scalar(value):
    """A value of a typed table as this program has it."""
    if value is None or isinstance(value, (int, float, str)):
        if isinstance(value, bool):
            return "true" if value else "false"
        return None if isinstance(value, float) and not math.isfinite(value) else value
    return json.dumps(value, sort_keys=True, default=str)


def numbers(values):
    """The values as floats, None where there is none; or None when one of them is no number."""
    found = []
    for value in values:
        if value is None:
            found.append(None)
            continue
        try:
            number = float(value)
        except ValueError:
            return None
        if isinstance(value, str) and "_" in value:
            return None  # `1_000` is Python's way to write a number, and nobody's way to write data
        found.append(number if math.isfinite(number) else None)
    return found


# --- comparing


def compare(name, reference, current, bins, categorical):
    """All that is said of one column."""
    as_numbers = None if categorical else (numbers(reference), numbers(current))
    numeric = as_numbers is not None and None not in as_numbers and any(v is not None for v in as_numbers[0])
    before, after = as_numbers if numeric else (texts(reference), texts(current))
    here = [v for v in before if v is not None]
    there = [v for v in after if v is not None]
    labels, counts_before, counts_after = (binned if numeric else counted)(here, there, bins)
    labels = [*labels, "(missing)"]
    counts_before = [*counts_before, len(before) - len(here)]
    counts_after = [*counts_after, len(after) - len(there)]
    shares_before, shares_after = shares(counts_before), shares(counts_after)
    result = {
        "column": name,
        "kind": "number" if numeric else "category",
        "psi": psi(shares_before, shares_after),
        "missing_reference": shares_before[-1],
        "missing_current": shares_after[-1],
        "shares": list(zip(range(len(labels)), labels, shares_before, shares_after)),
        "mean_reference": mean(here) if numeric else None,
        "mean_current": mean(there) if numeric else None,
        "test": "ks" if numeric else "chi2",
        "statistic": None,
        "p_value": None,
    }
    if here and there:
        if numeric:
            test = kolmogorov_smirnov(here, there)
        else:
            test = chi_squared(counts_before[:-1], counts_after[:-1])
        result["statistic"], result["p_value"] = test
    return result


def texts(values):
    """Categories are compared as text."""
    return [None if v is None else str(v) for v in values]


def mean(values):
    return math.fsum(values) / len(values) if values else None


def binned(here, there, bins):
    """Labels and counts of both, in bins that hold the same share of `here` each, as far as that can be."""
    ordered = sorted(here)
    cuts = sorted({ordered[len(ordered) * n // bins] for n in range(1, bins)} - {ordered[0]})
    edges = [None, *cuts, None]
    labels = [label(low, high) for low, high in zip(edges, edges[1:])]
    return labels, spread(here, cuts), spread(there, cuts)


def label(low, high):
    if low is None and high is None:
        return "all"
    if low is None:
        return f"< {high:g}"
    return f">= {low:g}" if high is None else f"{low:g} to {high:g}"


def spread(values, cuts):
    counts = [0] * (len(cuts) + 1)
    for value in values:
        counts[bisect.bisect_right(cuts, value)] += 1
    return counts


def counted(here, there, bins):
    """Labels and counts of both, by category."""
    before, after = collections.Counter(here), collections.Counter(there)
    kept = sorted(before, key=lambda c: (-before[c], c))[:MOST_CATEGORIES]
    new = sorted(set(after) - set(before), key=lambda c: (-after[c], c))
    kept += new[: MOST_CATEGORIES - len(kept)]
    rest = [len(here) - sum(before[c] for c in kept), len(there) - sum(after[c] for c in kept)]
    labels, counts = list(kept), ([before[c] for c in kept], [after[c] for c in kept])
    if any(rest):
        labels.append(OTHER)
        counts[0].append(rest[0])
        counts[1].append(rest[1])
    return labels, *counts


def shares(counts):
    total = sum(counts)
    return [n / total for n in counts]


def psi(before, after):
    total = 0.0
    for r, c in zip(before, after):
        if r or c:
            r, c = max(r, FLOOR), max(c, FLOOR)
            total += (c - r) * math.log(c / r)
    return total


def kolmogorov_smirnov(here, there):
    """The largest distance of the two distributions, and its asymptotic p-value (Stephens' correction)."""
    a, b = sorted(here), sorted(there)
    i = j = 0
    distance = 0.0
    while i < len(a) and j < len(b):
        value = min(a[i], b[j])
        while i < len(a) and a[i] == value:
            i += 1
        while j < len(b) and b[j] == value:
            j += 1
        distance = max(distance, abs(i / len(a) - j / len(b)))
    root = math.sqrt(len(a) * len(b) / (len(a) + len(b)))
    x = (root + 0.12 + 0.11 / root) * distance
    if x < 0.2:
        return distance, 1.0  # the series below does not converge there, and the value is 1 to 12 digits
    p = 2 * math.fsum((-1) ** (k - 1) * math.exp(-2 * k * k * x * x) for k in range(1, 101))
    return distance, min(1.0, max(0.0, p))


def chi_squared(before, after):
    """Pearson's statistic for two rows of counts, and its p-value."""
    pairs = [(b, a) for b, a in zip(before, after) if b + a]
    sum_before, sum_after = sum(b for b, _ in pairs), sum(a for _, a in pairs)
    total = sum_before + sum_after
    statistic = 0.0
    for b, a in pairs:
        for seen, row in ((b, sum_before), (a, sum_after)):
            expected = row * (b + a) / total
            statistic += (seen - expected) ** 2 / expected
    freedom = len(pairs) - 1
    return statistic, upper_gamma(freedom / 2, statistic / 2) if freedom else 1.0


def upper_gamma(a, x):
    """The regularised upper incomplete gamma function Q(a, x): by its series, or its continued fraction."""
    if x <= 0:
        return 1.0
    scale = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        term = total = 1 / a
        n = a
        while abs(term) > abs(total) * 1e-16:
            n += 1
            term *= x / n
            total += term
        return max(0.0, 1 - total * scale)
    tiny = 1e-300
    b = x + 1 - a
    c, d = 1 / tiny, 1 / b
    h = d
    for n in range(1, 10_000):
        step = -n * (n - a)
        b += 2
        d = 1 / (step * d + b or tiny)
        c = b + step / c or tiny
        h *= d * c
        if abs(d * c - 1) < 1e-15:
            break
    return scale * h


# --- writing


def write(options, found, reference, current, rows):
    count = len(found)
    summary = {
        "columns": count,
        "drifted": sum(c["drifted"] for c in found),
        "share": sum(c["drifted"] for c in found) / count,
        "psi_max": max(c["psi"] for c in found),
        "psi_mean": math.fsum(c["psi"] for c in found) / count,
        "ks_max": max((c["statistic"] or 0.0 for c in found if c["test"] == "ks"), default=0.0),
        "missing_max": max(abs(c["missing_current"] - c["missing_reference"]) for c in found),
        "added": len([c for c in current if c not in reference]),
        "removed": len([c for c in reference if c not in current]),
        "rows_reference": rows[0],
        "rows_current": rows[1],
    }
    with opened(options.summary) as file:
        json.dump({k: rounded(v) for k, v in summary.items()}, file, indent=2)
        file.write("\n")
    with opened(options.by_column) as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(FIELDS)
        out.writerows([cell(c[name]) for name in FIELDS] for c in found)
    with opened(options.shares) as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["column", "bin", "label", "set", "share"])
        for column in found:
            for n, text, before, after in column["shares"]:
                out.writerow([column["column"], n, text, "reference", cell(before)])
                out.writerow([column["column"], n, text, "current", cell(after)])


def opened(path):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    return open(path, "w", encoding="utf-8", newline="")


def rounded(value):
    """Twelve digits: the last ones differ between machines."""
    return float(f"{value:.12g}") if isinstance(value, float) else value


def cell(value):
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(rounded(value)) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
