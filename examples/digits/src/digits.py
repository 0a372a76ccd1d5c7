"""Tables of digits: shared by the stages that read and write them."""

import csv
from pathlib import Path

import numpy as np

PIXELS = [f"p{n}" for n in range(64)]


def write(path: str, digits: np.ndarray, pixels: np.ndarray) -> None:
    """Writes an image a row: the digit (0..9), then 64 pixels (0..16)."""
    with open(path, "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["digit", *PIXELS])
        for digit, row in zip(digits, pixels, strict=True):
            table.writerow([int(digit), *(int(p) for p in row)])


def read(path: str) -> tuple[np.ndarray, np.ndarray]:
    """The digits, shape (n,), and the pixels, shape (n, 64)."""
    table = np.loadtxt(path, delimiter=",", skiprows=1, dtype=np.int64, ndmin=2)
    return table[:, 0], table[:, 1:]


def folder(path: str) -> Path:
    """The folder at `path`, made if need be."""
    made = Path(path)
    made.mkdir(parents=True, exist_ok=True)
    return made
