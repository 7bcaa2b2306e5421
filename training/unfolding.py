"""Unfolding: a model folder in, its function in a network that can be trained on out.

Export folds each batch normalisation into the convolution before it, and so loses what training
needs: statistics and a scale for each channel. Both are found again by looking at images.
"""

from __future__ import annotations

from collections.abc import Iterable

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from annotate.errors import AnnotateError
from annotate.images import Pixels
from annotate.model import load_model
from training.folding import convolution_before, normalizations
from training.material import at_size

LOOKED_AT = 256
"""Images from which statistics are taken: a channel has 4,000 values in them or more."""

BATCH = 16

Array = npt.NDArray[np.float64]
Arrays = dict[str, Array]


def load_exported(network: keras.Model, start: str, pixels: Pixels) -> None:
    """Put the weights of an exported model into the network that its architecture builds.

    network: with its normalisations. start: name or folder of a model whose layers have the same
    names. pixels: uint8 (N, S, S, 3), faces like those to train on. In use, network then gives
    what the model gives, up to rounding; where it trains, normalisations meet about the statistics
    that they were given.
    Raises AnnotateError where the model cannot be read or is of another network.
    """
    model = load_model(start, engine="keras", device="cpu")
    folded = model.network
    norms = {convolution_before(norm).name: norm for norm in normalizations(network)}
    _check_same(model.name, network, folded)
    means, variances = _statistics(folded, norms, at_size(pixels[:LOOKED_AT], model.size_px))
    for name, norm in norms.items():
        kernel, bias = (np.asarray(w, np.float64) for w in folded.get_layer(name).get_weights())
        convolution = network.get_layer(name)
        length = _lengths(convolution, kernel)
        # The mean without the bias, which has its place behind the normalisation now.
        mean, variance = (means[name] - bias) / length, variances[name] / length**2
        scale = np.sqrt(variance + norm.epsilon)
        shape = (-1, 1) if _is_depthwise(convolution) else (-1,)
        no_bias = [np.zeros_like(bias)] if convolution.use_bias else []
        convolution.set_weights([kernel / length.reshape(shape), *no_bias])
        norm.set_weights([scale * length, means[name], mean, variance])
    done = {*norms, *(norm.name for norm in norms.values())}
    for layer in network.layers:
        if layer.weights and layer.name not in done:
            layer.set_weights(folded.get_layer(layer.name).get_weights())


def _check_same(name: str, network: keras.Model, folded: keras.Model) -> None:
    """Whether a folded network has the layers of another, but for the normalisations."""

    def described(of: keras.Model) -> dict[str, tuple[int, ...]]:
        plain = [layer for layer in of.layers if layer.name not in skipped]
        return {layer.name: tuple(layer.weights[0].shape) for layer in plain if layer.weights}

    skipped = {norm.name for norm in normalizations(network)}
    if described(network) != described(folded):
        raise AnnotateError(
            f"the model {name} is of another network than {network.name}: it cannot be gone on from"
        )


def _statistics(folded: keras.Model, names: Iterable[str], pixels: Pixels) -> tuple[Arrays, Arrays]:
    """Mean and variance of each channel of the outputs of some layers, over images and places."""
    outputs = {name: folded.get_layer(name).output for name in names}
    watched = keras.Model(folded.input, outputs)
    sums: Arrays = dict.fromkeys(outputs, np.zeros(()))
    squares: Arrays = dict.fromkeys(outputs, np.zeros(()))
    counts = dict.fromkeys(outputs, 0)
    for first in range(0, len(pixels), BATCH):
        found = watched.predict_on_batch(pixels[first : first + BATCH])
        for name, values in found.items():
            flat = np.asarray(values, np.float64).reshape(-1, values.shape[-1])
            sums[name] = sums[name] + flat.sum(axis=0)
            squares[name] = squares[name] + np.square(flat).sum(axis=0)
            counts[name] += len(flat)
    means = {name: sums[name] / counts[name] for name in outputs}
    variances = {
        name: np.maximum(squares[name] / counts[name] - np.square(means[name]), 0.0)
        for name in outputs
    }
    return means, variances


def _is_depthwise(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, layers.DepthwiseConv2D)


def _lengths(layer: keras.layers.Layer, kernel: Array) -> Array:
    """The length of each channel's filter; 1 for one that is all 0.

    Folding left them with the scale of what they give, over which one learning rate would not
    fit all; behind a normalisation their lengths are free.
    """
    axes = (0, 1, 3) if _is_depthwise(layer) else (0, 1, 2)
    lengths = np.sqrt(np.square(kernel).sum(axis=axes))
    return np.where(lengths > 0, lengths, 1.0)
