"""Writes scikit-learn's bundled images of handwritten digits as a table."""

import argparse

import digits
from sklearn.datasets import load_digits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    bundle = load_digits()
    digits.write(options.out, bundle.target, bundle.data)


if __name__ == "__main__":
    main()
