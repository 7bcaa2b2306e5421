"""Model cards: model.json and the training history in, a page in Markdown out.

What can be measured is taken from model.json, also which groups do worst; nothing is said of a
figure here that another training could make untrue. What model.json lacks is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from training.card_figures import figure_sections, headlines
from training.markdown import listing, number, percent, table
from training.recipe import recipe_rows

INTENDED = """\
For labelling collections of aligned face crops with the age and the gender that people would
see in them: for sorting, counting and searching, where an error costs little.

Not for decisions about people, not for age verification, not for telling who somebody is or
what gender somebody has."""

LIMITS = """\
- Gender is binary because the labels are: it says how a face would be labelled, not who the
  person is.
- Ages are apparent ages: what people guess from a picture, not what a document says.
- Races are the five groups that UTKFace names. They are used to measure, not to predict.
- The figures are those of the pictures named above. On others (old photographs, surveillance,
  drawings) nothing is known until it is measured: `annotate evaluate`.
- It expects crops framed as UTKFace frames them, which is how `--faces detect` cuts them.
  Anything else, also what is no face at all, gets a plausible-looking answer."""

FAULTS = {
    "malformed_name": "names without all labels: not used",
    "odd_name": "names with an odd ending whose labels are readable: used",
    "unreadable_file": "files that cannot be decoded: not used",
    "identical_file": "files with the same bytes as another: in the same part",
    "no_face": "no face was found: not used",
    "missing_file": "named by the label table and not there",
    "invalid_value": "label that is none: not used",
    "duplicate_row": "labelled more than once by the table: not used",
}
"""What became of each kind of fault."""


def card(info: Mapping[str, Any], rows: list[dict[str, float]]) -> str:
    """The card of a model. info: model.json but for the card's own hash. rows: the history."""
    sections = [
        f"# {info['name']}\n\n{info['about'][:1].upper()}{info['about'][1:]}.",
        _titled("In short", headlines(info)),
        _titled("Use", [INTENDED]),
        _titled("Data and licence", _data(info)),
        _titled("Training", _training(info, rows)),
        _titled("Output", _output(info)),
        *(_titled(title, blocks) for title, blocks in figure_sections(info["figures"])),
        _titled("Speed", _speed(info.get("speed") or {})),
        _titled("Limits", [LIMITS]),
        _titled("Files", [_files(info["files"])]),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _titled(title: str, blocks: Iterable[str]) -> str:
    """A section, or nothing where it would be empty."""
    body = "\n\n".join(blocks)
    return body and f"## {title}\n\n{body}"


def _data(info: Mapping[str, Any]) -> Iterator[str]:
    data = info["data"]
    images, split = data["images"], data["split"]
    yield f"{data['name']}. Licence of the images: {data['licence']}."
    photographs = data.get("photographs")
    if photographs is not None:
        yield (
            f"Trained on {photographs['images']:,} photographs as well, of which the face nearest"
            f" the centre was cut out and aligned: {photographs['name']}. Licence of the"
            f" photographs: {photographs['licence']}."
        )
    yield f"Licence of these weights: {info['licence']}."
    counts = ", ".join(f"{count:,} {part}" for part, count in images.items())
    yield (
        f"{sum(images.values()):,} labelled images: {counts}. Split {split['rule']}; seed"
        f" {split['seed']}, {percent(split['test_share'])} test,"
        f" {percent(split['validation_share'])} of the rest validation. Byte-identical images are"
        f" never in two parts. `{data['hashes']}` lists what the model was trained on or chosen by,"
        " by the first 16 digits of the SHA-256, so that an evaluation can say which images the"
        " model has met."
    )
    yield from _faults("images", Counter(fault.partition(":")[0] for fault in data["faults"]))
    if photographs is not None:
        yield from _faults("photographs", photographs["faults_by_kind"])


def _faults(what: str, counts: Mapping[str, int]) -> Iterator[str]:
    if not counts:
        yield f"No faults were met in the {what}."
        return
    yield f"Faults met in the {what}; nothing was guessed:"
    yield "\n".join(
        f"- {count:,} `{kind}`" + (f": {FAULTS[kind]}" if kind in FAULTS else "")
        for kind, count in sorted(counts.items())
    )


def _training(info: Mapping[str, Any], rows: list[dict[str, float]]) -> Iterator[str]:
    training = info["training"]
    kept = rows[training["epoch_kept"] - 1]
    earlier = list(_earlier(training))
    if earlier:
        yield "Begun with the weights of a model that was exported from this run:"
    for before in reversed(earlier):
        yield f"    KERAS_BACKEND={before['backend']} {before['command']}"
        yield (
            f"Its cost: {before['seconds'] / 3600:.2f} hours for {before['epochs']} epochs on"
            f" {before['machine'] or 'a machine that was not recorded'}. Then:"
        )
    is_average = (training.get("recipe") or {}).get("start_share")
    later = "averaging and calibration" if is_average else "calibration"
    yield f"    KERAS_BACKEND={training['backend']} {training['command']}"
    yield (
        f"Preset `{info['preset']}`, Keras {training['keras']} on {training['backend']}."
        f" Cost: {training['seconds'] / 3600:.2f} hours for {training['epochs']} epochs on"
        f" {training['machine'] or 'a machine that was not recorded'}."
        f" Kept: epoch {training['epoch_kept']}, with a validation age MAE of"
        f" {kept['val_age_mae']:.2f} years (before {later}) and a validation gender"
        f" accuracy of {kept['val_gender_accuracy']:.3f}."
        f" Commit: {info['commit'] or 'not recorded'}."
    )
    yield table(("recipe", ""), recipe_rows(info), text_columns=2)
    yield "Exported by:"
    yield f"    {info['command']}"
    if training.get("start") or training.get("teachers"):
        yield (
            "Models in these commands are named as they were when they ran; `docs/results.md` has"
            " the commands in their order, from nothing."
        )


def _earlier(training: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The trainings that one went on from, the last one first."""
    while training.get("start"):
        training = training["start"]
        yield training


def _output(info: Mapping[str, Any]) -> Iterator[str]:
    size_px = info["input"]["size_px"]
    calibration = info["calibration"]
    yield (
        f"Input: aligned face crops, {size_px}×{size_px} pixels RGB. Female probability: calibrated"
        f" by temperature {calibration['gender_temperature']:.3f} on the {calibration['n']:,}"
        f" images of the {calibration['fitted_on']} part."
    )
    age = info["heads"]["age"]
    if age["kind"] != "distribution":
        yield "Age: one number, cut at 0 years; this model gives no intervals."
        return
    first, last = age["ages"]
    yield (
        f"Age: a distribution over the integer ages {first} to {last}, calibrated by"
        f" {_age_temperature(calibration['age_temperature'])}; integer age a stands for a − 0.5"
        f" to a + 0.5 years. The estimate is the median; {_interval_ends(calibration)};"
        " P(age < 18) is the weight of the ages below 18."
    )


def _age_temperature(found: float | Mapping[str, Any]) -> str:
    """One temperature for all ages, or some by the age that the network gives."""
    if not isinstance(found, Mapping):
        return f"temperature {found:.3f}"
    pairs = zip(found["ages"], found["temperatures"], strict=True)
    by_age = listing(f"{temperature:.3f} at {age:g}" for age, temperature in pairs)
    return f"a temperature that depends on the age, {by_age} years"


def _interval_ends(calibration: Mapping[str, Any]) -> str:
    levels = calibration.get("interval_levels")
    if levels is None:
        return "10 % and 90 % quantiles are the 80 % interval"
    low, high = (number(100 * level, 1) for level in levels)
    return f"the 80 % interval lies between the {low} % and the {high} % quantile, also calibrated"


def _speed(speed: Mapping[str, Any]) -> Iterator[str]:
    lines = [
        f"- {key.replace('_per_s', ' a second').replace('_', ' ')}:"
        f" {f'{value:,.0f}' if isinstance(value, int | float) and value >= 10 else value}"
        for key, value in speed.items()
        if value is not None
    ]
    if lines:
        yield "\n".join(lines)


def _files(files: Mapping[str, str]) -> str:
    rows = ((f"`{name}`", f"`{digest}`") for name, digest in files.items())
    return table(("file", "SHA-256"), rows, text_columns=2)
