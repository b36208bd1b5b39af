"""Noise of known shape to try tests on: each kind has mean 0 and SD 1."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Sampler = Callable[[np.random.Generator, tuple[int, ...]], Floats]


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """The noise that the t tests assume."""
    return rng.standard_normal(shape)


def heavy(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Student's t with 3 degrees of freedom: now and then a run far off."""
    return np.asarray(rng.standard_t(3, shape) / math.sqrt(3))


def skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Log-normal (sigma 1): most runs alike, a few much worse, as perplexities are."""
    mean, variance = math.exp(0.5), (math.e - 1) * math.e
    return np.asarray((np.exp(rng.standard_normal(shape)) - mean) / math.sqrt(variance))


NOISE: Mapping[str, Sampler] = {"normal": normal, "heavy-tailed (t3)": heavy, "skewed (log-normal)": skewed}
