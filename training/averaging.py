"""Averaging: a network and the one that it began as in, the mean of their weights out.

Weights that a training went on from and those that it came to often lie in one valley, whose
middle does better on new images than either side.
Source: weight-space ensembles, Wortsman et al. 2022 (WiSE-FT).
"""

from __future__ import annotations

import keras


def average(network: keras.Model, beginning: keras.Model, share: float) -> None:
    """Put the mean of both into `network`: all weights, statistics of normalisations included.

    Both are of one architecture. share: what `beginning` counts, 0 to 1.
    """
    pairs = zip(network.get_weights(), beginning.get_weights(), strict=True)
    network.set_weights([(1 - share) * came_to + share * began for came_to, began in pairs])
