"""Splits the images: some to learn from, some to judge by."""

import argparse

import digits
import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("digits")
    parser.add_argument("--train", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--test-share", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    options = parser.parse_args()
    labels, pixels = digits.read(options.digits)
    order = np.random.RandomState(options.seed).permutation(len(labels))
    cut = round(len(labels) * options.test_share)
    digits.write(options.test, labels[order[:cut]], pixels[order[:cut]])
    digits.write(options.train, labels[order[cut:]], pixels[order[cut:]])


if __name__ == "__main__":
    main()
