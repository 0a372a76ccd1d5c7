"""The model: a linear classifier over the features, or over random features made from them."""

import json

import numpy as np


def expand(features: np.ndarray, components: int, seed: int) -> np.ndarray:
    """Random Fourier features (Rahimi and Recht): cosines of random mixtures. 0 components: as they are."""
    if not components:
        return features
    random = np.random.RandomState(seed)
    mix = random.normal(scale=0.35, size=(features.shape[1], components))
    shift = random.uniform(0, 2 * np.pi, size=components)
    # Rounded, so that the last bits, which depend on the processor, do not reach the model.
    return np.round(np.cos(features @ mix + shift), 4)


def scores(model: dict, features: np.ndarray) -> np.ndarray:
    """How much each image looks like each digit, shape (n, 10)."""
    inner = expand(features, model["components"], model["seed"])
    return inner @ np.array(model["weights"]).T + np.array(model["bias"])


def probabilities(model: dict, features: np.ndarray) -> np.ndarray:
    """The same as shares that sum to 1."""
    raw = scores(model, features)
    powers = np.exp(raw - raw.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def loss(model: dict, features: np.ndarray, digits: np.ndarray) -> float:
    """The mean surprise at the right digit; smaller is better."""
    right = probabilities(model, features)[np.arange(len(digits)), digits]
    return float(round(-np.log(np.maximum(right, 1e-12)).mean(), 6))


def accuracy(model: dict, features: np.ndarray, digits: np.ndarray) -> float:
    """The share of images read right."""
    return float(round((scores(model, features).argmax(axis=1) == digits).mean(), 6))


def save(model: dict, path: str) -> None:
    """As JSON: readable everywhere, and the same bytes for the same model."""
    with open(path, "w") as file:
        json.dump(model, file, sort_keys=True)
        file.write("\n")


def load(path: str) -> dict:
    """What `save` wrote."""
    with open(path) as file:
        return json.load(file)
