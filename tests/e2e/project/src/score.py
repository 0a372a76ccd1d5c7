"""Adds up what the two parts hold."""

import argparse
import json
import pathlib

from table import read

parser = argparse.ArgumentParser()
parser.add_argument("--weight", type=float)
for name in ("evens", "odds", "scores", "parts"):
    parser.add_argument(name, type=pathlib.Path)
args = parser.parse_args()
print("WORKING score")
evens, odds = (sum(square for _, square in read(path)) for path in (args.evens, args.odds))
args.scores.write_text(json.dumps({"total": evens + args.weight * odds, "ratio": evens / (odds or 1)}))
args.parts.mkdir(parents=True)
(args.parts / "evens.txt").write_text(f"{evens}\n")
(args.parts / "odds.txt").write_text(f"{odds}\n")
