"""Judges a model by images that it never saw."""

import argparse
import csv
import json
from pathlib import Path

import model
import numpy as np
from PIL import Image, ImageDraw

CELL = 36
EDGE = 40


def picture(confusion: np.ndarray) -> Image.Image:
    """What was read (columns) for what was shown (rows); the darker, the more often."""
    side = EDGE + 10 * CELL + 10
    image = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(image)
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    for shown in range(10):
        draw.text((EDGE + shown * CELL + 15, 22), str(shown), fill="black")
        draw.text((24, EDGE + shown * CELL + 12), str(shown), fill="black")
        for read in range(10):
            share = shares[shown, read]
            # Right answers in blue, wrong ones in red, stronger than their number so that they can be seen.
            strength = int(200 * (share if shown == read else min(1.0, 8 * share)))
            faded = 255 - strength
            colour = (faded, faded, 255) if shown == read else (255, faded, faded)
            x, y = EDGE + read * CELL, EDGE + shown * CELL
            draw.rectangle((x, y, x + CELL - 2, y + CELL - 2), fill=colour)
            if confusion[shown, read]:
                dark = shown == read and share > 0.5
                text = str(confusion[shown, read])
                draw.text((x + CELL // 2 - 3 * len(text), y + 12), text, fill="white" if dark else "black")
    draw.text((EDGE, 6), "read as", fill="gray")
    draw.text((4, 24), "is", fill="gray")
    return image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("table", help="the folder that features.py wrote")
    parser.add_argument("--scores", required=True)
    parser.add_argument("--digits", required=True)
    parser.add_argument("--confusion", required=True)
    options = parser.parse_args()

    trained = model.load(options.model)
    table = np.load(Path(options.table) / "test.npz")
    labels = table["digits"]
    read = model.scores(trained, table["features"]).argmax(axis=1)
    confusion = np.zeros((10, 10), dtype=int)
    np.add.at(confusion, (labels, read), 1)

    recalls = [round(float(confusion[d, d] / max(confusion[d].sum(), 1)), 6) for d in range(10)]
    with open(options.digits, "w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["digit", "images", "recall"])
        rows.writerows([d, int(confusion[d].sum()), recalls[d]] for d in range(10))
    scores = {"accuracy": round(float((read == labels).mean()), 6), "worst": min(recalls)}
    Path(options.scores).write_text(json.dumps(scores, indent=2) + "\n")
    # Pillow writes no time and no software into a PNG: the same picture is the same bytes.
    picture(confusion).save(options.confusion, optimize=True)


if __name__ == "__main__":
    main()
