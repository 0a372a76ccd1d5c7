"""Turns pixels into features: brightness from 0 to 1 and, if wanted, edges."""

import argparse

import digits
import numpy as np


def features(pixels: np.ndarray, edges: bool) -> np.ndarray:
    """Shape (n, 64), or (n, 176) with edges: differences to the right and downwards."""
    images = pixels.reshape(-1, 8, 8) / 16.0
    parts = [images.reshape(len(images), -1)]
    if edges:
        parts.append(np.abs(np.diff(images, axis=1)).reshape(len(images), -1))
        parts.append(np.abs(np.diff(images, axis=2)).reshape(len(images), -1))
    return np.hstack(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("--edges", choices=["true", "false"], required=True)
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    out = digits.folder(options.out)
    for name, path in (("train", options.train), ("test", options.test)):
        labels, pixels = digits.read(path)
        np.savez(out / f"{name}.npz", digits=labels, features=features(pixels, options.edges == "true"))


if __name__ == "__main__":
    main()
