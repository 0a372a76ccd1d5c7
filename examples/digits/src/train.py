"""Trains a classifier, an epoch at a time, and writes how it went."""

import argparse
import csv
import json
from pathlib import Path

import model
import numpy as np
from sklearn.linear_model import SGDClassifier


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", help="the folder that features.py wrote")
    parser.add_argument("--model", required=True)
    parser.add_argument("--scores", required=True)
    parser.add_argument("--curve", required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--penalty", type=float, required=True)
    parser.add_argument("--components", type=int, default=0, help="random features; 0 for none")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    table = np.load(Path(options.table) / "train.npz")
    held = len(table["digits"]) // 5  # a fifth is held back, to see when more training stops helping
    labels, features = table["digits"][held:], table["features"][held:]
    held_labels, held_features = table["digits"][:held], table["features"][:held]

    learner = SGDClassifier(
        loss="log_loss",
        alpha=options.penalty,
        learning_rate="invscaling",
        eta0=options.rate,
        power_t=0.1,
        random_state=options.seed,
    )
    inner = model.expand(features, options.components, options.seed)
    curve = []
    trained: dict = {}
    for epoch in range(1, options.epochs + 1):
        learner.partial_fit(inner, labels, classes=np.arange(10))
        trained = {
            "components": options.components,
            "seed": options.seed,
            "weights": np.round(learner.coef_, 8).tolist(),
            "bias": np.round(learner.intercept_, 8).tolist(),
        }
        loss = model.loss(trained, features, labels)
        curve.append([epoch, loss, model.loss(trained, held_features, held_labels)])
        print(f"epoch {epoch}: loss {loss:.4f}", flush=True)

    model.save(trained, options.model)
    with open(options.curve, "w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["epoch", "loss", "held"])
        rows.writerows(curve)
    scores = {"loss": curve[-1][1], "accuracy": model.accuracy(trained, features, labels)}
    Path(options.scores).write_text(json.dumps(scores, indent=2) + "\n")


if __name__ == "__main__":
    main()
