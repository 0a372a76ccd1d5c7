"""Writes a table of squares."""

import argparse
import pathlib

from table import write

parser = argparse.ArgumentParser()
parser.add_argument("--rows", type=int)
parser.add_argument("table", type=pathlib.Path)
args = parser.parse_args()
print("WORKING make")
write(args.table, [(n, n * n) for n in range(args.rows)])
