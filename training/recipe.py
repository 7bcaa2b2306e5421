"""Recipes: what model.json keeps of a preset in, rows of words for a model's card out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from training.markdown import listing, percent

_LOSSES = {
    "categorical_crossentropy": "cross-entropy",
    "mean_squared_error": "squared error",
    "mean_absolute_error": "absolute error",
}

_CHANCES = {
    "flip": "mirrored",
    "grayscale": "gray",
    "blur": "blurred",
    "reduce": "reduced and enlarged again",
    "jpeg": "written as a JPEG of low quality",
    "erase": "a rectangle erased",
}
_STRENGTHS = {"brightness": "brightness", "contrast": "contrast", "saturation": "saturation"}
"""Fields of training.augmentation.Augmentation: those that are probabilities, and those that are
the largest relative change."""


def recipe_rows(info: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(what, how) for each part of the recipe. info: model.json.

    A recipe that does not say something gets no row for it, so that older ones can be read.
    """
    recipe = info["training"].get("recipe") or {}
    yield "network", f"`{info['architecture']}`, {info['input']['size_px']} px RGB"
    yield "first weights", _first_weights(info["training"], recipe)
    for what, how in (
        ("image sizes", _sizes(recipe)),
        ("epochs", _epochs(recipe)),
        ("optimiser", _optimiser(recipe)),
        ("stochastic depth", _left_out(recipe)),
        ("losses", _losses(recipe)),
        ("age labels", _age_labels(recipe)),
        ("average", _average(recipe)),
        ("teachers", _teachers(info["training"], recipe)),
        ("views", "drawn anew, others than the run above saw" if recipe.get("views") else ""),
        ("augmentation", _augmentation(recipe.get("augmentation") or {})),
    ):
        if how:
            yield what, how


def _first_weights(training: Mapping[str, Any], recipe: Mapping[str, Any]) -> str:
    about = "those of the run above" if training.get("start") else training.get("pretrained")
    if about is None:
        return "random"
    last = recipe.get("frozen_up_to")
    return f"{about}; layers up to `{last}` keep them" if last else str(about)


def _sizes(recipe: Mapping[str, Any]) -> str:
    """Sides of the training images by epoch."""
    sizes = recipe.get("sizes") or ()
    steps = listing(f"{size_px} px from epoch {first}" for first, size_px in sizes)
    kept = recipe.get("kept_px")
    return "; ".join(part for part in (steps, f"kept at {kept} px" if kept else "") if part)


def _epochs(recipe: Mapping[str, Any]) -> str:
    if "epochs" not in recipe:
        return ""
    text = f"{recipe['epochs']}, batches of {recipe['batch_size']}"
    patience = recipe.get("patience")
    if patience is not None:
        text += f", stopped after {patience} without a better `{recipe['monitor']}`"
    return f"{text}; the one with the lowest `{recipe['monitor']}` is kept"


def _optimiser(recipe: Mapping[str, Any]) -> str:
    if "optimizer" not in recipe:
        return ""
    parts = [
        {"adamw": "AdamW", "adam": "Adam"}.get(recipe["optimizer"], recipe["optimizer"]),
        f"learning rate {recipe['peak_learning_rate']:g}",
    ]
    if recipe["schedule"] == "cosine":
        parts.append(f"{recipe['warmup_epochs']:g} epochs of warm-up, then down to 0 on a cosine")
        restarts = recipe.get("restarts") or ()
        if restarts:
            again = listing(f"from {peak:g} at epoch {first}" for first, peak in restarts)
            parts.append(f"again {again}")
    if recipe["weight_decay"]:
        parts.append(f"weight decay {recipe['weight_decay']:g}")
    return ", ".join(parts)


def _left_out(recipe: Mapping[str, Any]) -> str:
    share = recipe.get("block_dropout")
    return f"the last block left out with probability {share:g}, earlier ones less" if share else ""


def _losses(recipe: Mapping[str, Any]) -> str:
    if "age_loss" not in recipe:
        return ""
    age = _LOSSES.get(recipe["age_loss"], recipe["age_loss"].replace("_", " "))
    return (
        f"age: {age}, weight {recipe['age_weight']:g};"
        f" gender: cross-entropy, weight {recipe['gender_weight']:g}"
    )


def _age_labels(recipe: Mapping[str, Any]) -> str:
    if recipe.get("age_bins") is None:
        return "one number" if "age_bins" in recipe else ""
    return (
        f"Gaussians over {recipe['age_bins']} ages,"
        f" standard deviation {recipe['age_sigma']:g} years"
    )


def _average(recipe: Mapping[str, Any]) -> str:
    share = recipe.get("start_share")
    return f"of the weights that it came to and, by {percent(share)}, of the first" if share else ""


def _teachers(training: Mapping[str, Any], recipe: Mapping[str, Any]) -> str:
    # Recipes of before there could be several name one.
    alone = training.get("teacher")
    names = training.get("teachers") or ([alone] if alone else [])
    if not names:
        return ""
    said = "what it says" if len(names) == 1 else "what they say on average"
    share = percent(recipe.get("teacher_share", 0.0))
    who = listing(f"`{name}`" for name in names)
    return f"{who}: {said} of an image counts {share}, its labels the rest"


def _augmentation(how: Mapping[str, Any]) -> str:
    """What is done to training images, and how far."""
    parts = [
        f"{words} with probability {how[key]:g}" for key, words in _CHANCES.items() if how.get(key)
    ]
    low, high = how.get("zoom") or (1, 1)
    if (low, high) != (1, 1):
        parts.append(f"zoom {low:g} to {high:g}")
    if how.get("rotate_deg"):
        parts.append(f"turned by up to {how['rotate_deg']:g}°")
    if how.get("shift"):
        parts.append(f"moved by up to {percent(how['shift'])} of the side")
    parts += [f"{words} ±{percent(how[key])}" for key, words in _STRENGTHS.items() if how.get(key)]
    if not parts:
        return "none" if how else ""
    return ", ".join(parts)
