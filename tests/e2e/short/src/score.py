"""Adds up the table; the ratio is best at the weight 0.4."""

import argparse
import json
import pathlib

parser = argparse.ArgumentParser()
parser.add_argument("--weight", type=float)
for name in ("table", "scores"):
    parser.add_argument(name, type=pathlib.Path)
args = parser.parse_args()
print("WORKING score")
total = sum(int(line) for line in args.table.read_text().splitlines()[1:])
args.scores.write_text(json.dumps({"total": total, "ratio": 1 - abs(args.weight - 0.4)}))
