"""Fits a linear model by gradient descent, and writes how it went."""

import argparse
import csv
import json

import houses

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("data")
parser.add_argument("model")
parser.add_argument("--curve", required=True)
parser.add_argument("--epochs", type=int, required=True)
parser.add_argument("--rate", type=float, required=True)
options = parser.parse_args()

rows = houses.read(options.data)
weights = [0.0] * len(houses.features(rows[0]))
curve = []
for epoch in range(1, options.epochs + 1):
    slopes = [0.0] * len(weights)
    loss = 0.0
    for row in rows:
        error = houses.guess(weights, row) - row["price"]
        loss += error**2 / len(rows)
        for n, x in enumerate(houses.features(row)):
            slopes[n] += 2 * error * x / len(rows)
    weights = [w - options.rate * slopes[n] for n, w in enumerate(weights)]
    curve.append([epoch, round(loss, 4)])
print(f"loss {curve[0][1]:.0f} -> {curve[-1][1]:.0f} in {options.epochs} epochs")

with open(options.model, "w") as file:
    json.dump({"weights": [round(w, 6) for w in weights]}, file)
with open(options.curve, "w", newline="") as file:
    table = csv.writer(file, lineterminator="\n")
    table.writerow(["epoch", "loss"])
    table.writerows(curve)
