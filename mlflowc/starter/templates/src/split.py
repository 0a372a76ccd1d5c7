"""Splits the houses: some to learn from, some to judge by."""

import argparse

import houses

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("houses")
parser.add_argument("train")
parser.add_argument("test")
parser.add_argument("--every", type=int, required=True)
options = parser.parse_args()

rows = houses.read(options.houses)
houses.write(options.test, rows[:: options.every])
houses.write(options.train, [row for n, row in enumerate(rows) if n % options.every])
