"""Judges the model by houses that it never saw."""

import argparse
import json

import houses

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("model")
parser.add_argument("data")
parser.add_argument("scores")
options = parser.parse_args()

with open(options.model) as file:
    weights = json.load(file)["weights"]
rows = houses.read(options.data)
mean = sum(row["price"] for row in rows) / len(rows)
missed = [houses.guess(weights, row) - row["price"] for row in rows]
scores = {
    # The typical miss, in thousands; and the share of the differences between houses that is explained.
    "error": round((sum(m * m for m in missed) / len(rows)) ** 0.5, 4),
    "r2": round(1 - sum(m * m for m in missed) / sum((row["price"] - mean) ** 2 for row in rows), 4),
}
with open(options.scores, "w") as file:
    json.dump(scores, file, indent=2)
    file.write("\n")
