"""Folding: a trained network in, the same function as a smaller network for use out.

In use, a batch normalisation is a factor and an offset for each channel, which the convolution
before it can have in its own weights (Jacob et al. 2018, section 3.2), and a dropout is nothing.
Both file formats are written from the folded network, so that they hold the same numbers.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import layers


def fold(network: keras.Model) -> keras.Model:
    """A network for use alone, its weights rounded to what float16 can hold.

    It has neither normalisations nor dropouts. network: normalisations follow a Conv2D or
    DepthwiseConv2D without activation that nothing else follows. The outputs are those of `network`
    up to rounding: about 1e-3 of a probability.
    Raises ValueError for a normalisation elsewhere.
    """
    norms = {convolution_before(norm).name: norm for norm in normalizations(network)}

    def cloned(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if layer.name in norms:
            config |= {"use_bias": True, "bias_initializer": "zeros"}
        return layer.__class__.from_config(config)

    def called(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
        is_left_out = isinstance(layer, layers.BatchNormalization | layers.Dropout)
        return args[0] if is_left_out else layer(*args, **kwargs)

    folded = keras.models.clone_model(network, clone_function=cloned, call_function=called)
    for layer in folded.layers:
        weights = network.get_layer(layer.name).get_weights()
        if layer.name in norms:
            weights = _folded(layer, weights, norms[layer.name])
        layer.set_weights([_rounded(array) for array in weights])
    return folded


def normalizations(network: keras.Model) -> list[keras.layers.Layer]:
    """The batch normalisations of a network, in its order."""
    return [layer for layer in network.layers if isinstance(layer, layers.BatchNormalization)]


def convolution_before(norm: keras.layers.Layer) -> keras.layers.Layer:
    """The convolution whose output a normalisation alone takes. Raises ValueError."""
    layer = norm.input._keras_history.operation
    plain = isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D)
    if (
        not plain
        or len(layer._outbound_nodes) != 1
        or layer.activation is not keras.activations.linear
    ):
        raise ValueError(f"{norm.name} does not follow a plain convolution of its own")
    return layer


def _folded(
    layer: keras.layers.Layer, weights: list[npt.NDArray[Any]], norm: keras.layers.Layer
) -> list[npt.NDArray[Any]]:
    """Kernel and bias of a convolution and the normalisation after it."""
    gamma, beta, mean, variance = (np.asarray(w, np.float64) for w in norm.get_weights())
    factor = gamma / np.sqrt(variance + norm.epsilon)
    kernel = np.asarray(weights[0], np.float64)
    offset = weights[1] if len(weights) > 1 else 0.0
    # A depthwise kernel has its channels before the last axis, which is the multiplier.
    per_channel = factor[:, None] if isinstance(layer, layers.DepthwiseConv2D) else factor
    return [kernel * per_channel, (offset - mean) * factor + beta]


def _rounded(array: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """The nearest values that float16 holds, as float32; as they are where one is too large."""
    if np.abs(array).max(initial=0.0) > np.finfo(np.float16).max:
        return array.astype(np.float32)
    return array.astype(np.float16).astype(np.float32)
