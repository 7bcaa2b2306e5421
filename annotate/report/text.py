"""Text reports: an EvaluationReport in, lines for a terminal out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from annotate.errors import shown
from annotate.gaps import Gap, Side, differing
from annotate.metrics import Metric, MinorMetrics
from annotate.report.faults import faults
from annotate.report.wording import NO_DISTRIBUTION, number, some
from annotate.slices import Slice
from annotate.thresholds import Thresholds

if TYPE_CHECKING:
    from annotate.evaluation_report import EvaluationReport
    from annotate.scoring import TrainingOverlap

NAMES_SHOWN = 10
"""Faults of a kind that are named; metrics.json lists all."""

_AGE = (
    ("mae", "MAE, years", 2),
    ("median_error", "median error, years", 2),
    ("rmse", "RMSE, years", 2),
    ("mse", "MSE, years squared", 1),
    ("bias", "bias, years", 2),
    ("cs5", "within 5 years (CS@5)", 3),
    ("interval_coverage", "in 80 % interval", 3),
)
_GENDER = (
    ("accuracy", "accuracy", 4),
    ("balanced_accuracy", "balanced accuracy", 4),
    ("auc", "AUC", 4),
    ("calibration_error", "calibration error", 4),
)
_SLICES = ("age_band", "gender", "race", "gender_x_race")

_GAPS = {"age_mae": ("age MAE, years", 2), "gender_accuracy": ("gender accuracy", 3)}

_FEW_FACES = "* few faces: the interval is too narrow to be trusted"

DETECTION = ("detect_size", "min_face_px", "min_score", "max_faces")


def render(report: EvaluationReport) -> str:
    """The whole report, without a final newline; what names hold is made printable."""
    blocks = (
        _head(report),
        _training(report),
        _faces(report),
        _headline(report.scores.overall),
        _minor(report.scores.minor, report.scores.thresholds),
        _not_trained_on(report),
        *(_slice_table(name, report.scores.slices.get(name, ())) for name in _SLICES),
        _largest_gaps(report.scores.largest_gaps),
        _predicted_age_bands(report.scores.predicted_age_bands, report.scores.overall),
        *_compared(report),
        _faults(report),
    )
    return "\n\n".join("\n".join(block) for block in map(list, blocks) if block)


def _compared(report: EvaluationReport) -> Iterator[Iterator[str]]:
    """How it stands beside another report: a block of sentences, and one for each table."""
    if report.compared is not None:
        from annotate.report.paired_section import text_blocks

        yield from text_blocks(report.compared)


def _head(report: EvaluationReport) -> Iterator[str]:
    scores = report.scores
    model = shown(report.model or "unknown", quote=False)
    digest = f" (sha256 {shown(report.model_sha256, 12, quote=False)})" * bool(report.model_sha256)
    yield f"folder  {shown(report.folder, 200, quote=False)}"
    yield f"model   {model}{digest}, engine {shown(report.engine or 'unknown', quote=False)}"
    yield f"inputs  {report.inputs:,}: {scores.scored:,} scored{_reasons(report.not_scored)}"
    if report.joined is not None:
        found = ", ".join(
            f"{count:,} {way.replace('_', ' ')}" for way, count in report.joined.items()
        )
        yield f"        found in the given predictions: {found}"
    counts = ", ".join(f"{name} {count:,}" for name, count in scores.labelled.items())
    source = "file names" if report.label_source == "utkface_name" else "the label table"
    yield f"labels  from {source}: {counts}"


def _reasons(counts: Mapping[str, int]) -> str:
    parts = [f"{reason} {count:,}" for reason, count in sorted(counts.items())]
    return f", {sum(counts.values()):,} not ({', '.join(parts)})" if parts else ""


def _training(report: EvaluationReport) -> Iterator[str]:
    training = report.scores.training
    if not training.known:
        yield "It is not known which of these images the model was trained on."
    elif not training.scored_train and not training.scored_validation:
        yield trained_on_none(training)
    else:
        yield (
            f"WARNING: {training.scored_train:,} of the scored images were trained on, and"
            f" {training.scored_validation:,} more were the training's validation part."
        )
        if training.scored_train:
            yield "Figures over images that a model was trained on flatter it."


def trained_on_none(training: TrainingOverlap) -> str:
    """What is said where no figure rests on an image that the model has met."""
    if not training.train and not training.validation:
        return "The model was trained on none of these images."
    met = training.train + training.validation
    return f"The model met none of the scored images in its training; {met:,} of the others."


def _faces(report: EvaluationReport) -> Iterator[str]:
    """What detection did not find, and what it found beside the faces that are scored."""
    faces, options = report.scores.faces, report.options
    if faces is None:
        return
    missed = faces.not_found_share
    yield (
        f"faces not found: {faces.not_found:,} of {faces.searched:,}"
        f" ({_percent(missed.value)} %), 95 % interval {_percent(missed.low)} to"
        f" {_percent(missed.high)} %"
    )
    yield (
        f"faces passed over: {faces.passed_over:,}, in {faces.several:,}"
        f" picture{'' if faces.several == 1 else 's'} with more than one; the nearest to the"
        " centre is scored"
    )
    if options.get("detector") is not None:
        chosen = " ".join(
            f"--{name.replace('_', '-')} {shown(options[name], quote=False)}"
            for name in DETECTION
            if options.get(name) is not None
        )
        yield f"found by {shown(options['detector'], quote=False)}; {chosen}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _headline(overall: Slice) -> Iterator[str]:
    yield f"{'':26}{'value':>9}   {'95 % interval':<20}{'n':>9}"
    for title, names, metrics in (("age", _AGE, overall.age), ("gender", _GENDER, overall.gender)):
        yield title
        for name, meaning, digits in names:
            metric: Metric = getattr(metrics, name)
            if name == "interval_coverage" and not metric.n:
                continue
            yield (
                f"  {meaning:<24}{_number(metric.value, digits):>9}"
                f"   {_interval(metric, digits):<20}{metric.n:>9,}"
            )
    if overall.age.mae.n and not overall.age.interval_coverage.n:
        yield NO_DISTRIBUTION


def _minor(minor: MinorMetrics | None, thresholds: Thresholds | None) -> Iterator[str]:
    for rule in thresholds.rules if thresholds else ():
        if rule.estimate == "age" and rule.teens_passing.n:
            yield (
                f"looks {rule.threshold:g} or older: {_with_n(rule.teens_passing, 3)} of those"
                f" labelled 13 to 17; {_number(rule.adults_failing.value, 3)} of those labelled"
                " 18 or more do not"
            )
    if minor is not None:
        yield (
            f"P(age < 18): AUC {_with_interval(minor.auc, 4)}, calibration error"
            f" {_with_interval(minor.calibration_error, 4)},"
            f" Brier score {_with_interval(minor.brier, 4)};"
            f" n {minor.n:,}, share under 18 {_number(minor.share_minor.value, 3)}"
        )


def _not_trained_on(report: EvaluationReport) -> Iterator[str]:
    part = report.scores.not_trained_on
    if part is not None:
        validation = report.scores.training.scored_validation
        yield f"of the {part.n:,} scored images that the model was not trained on"
        if validation:
            yield f"(up to {validation:,} of them chose among its weights in training)"
        yield (f"  age MAE {_with_n(part.age.mae, 2)}, within 5 years {_with_n(part.age.cs5, 3)}")
        yield f"  gender accuracy {_with_n(part.gender.accuracy, 4)}"


def _slice_table(name: str, slices: tuple[Slice, ...]) -> Iterator[str]:
    if not slices:
        return
    titles = ["".join(_label(part)) for part in slices]
    heading = f"by label: {_words(name)}"
    width = max(24, len(heading), *map(len, titles)) + 2
    yield (
        f"{heading:<{width}}{'n':>7}  {'MAE':>6} {'95 % interval':<16}{'bias':>7}{'CS@5':>7}"
        f"  {'gender':>6} 95 % interval"
    )
    for title, part in zip(titles, slices, strict=True):
        age, gender = part.age, part.gender
        yield (
            f"{title:<{width}}{part.n:>7,}{'*' if part.few else ' '}"
            f" {_number(age.mae.value, 2):>6} {_interval(age.mae, 2):<16}"
            f"{_number(age.bias.value, 2):>7}{_number(age.cs5.value, 3):>7}"
            f"  {_number(gender.accuracy.value, 3):>6} {_interval(gender.accuracy, 3):<16}"
        ).rstrip()
    if any(part.few for part in slices):
        yield _FEW_FACES


def _predicted_age_bands(parts: tuple[Slice, ...], overall: Slice) -> Iterator[str]:
    """What an estimate in each band is worth; coverage only where there are intervals."""
    if not parts:
        return
    heading = "by prediction: age band"
    has_intervals = overall.age.interval_coverage.n > 0
    title = f"{'in 80 % interval':<26}" if has_intervals else ""
    yield (
        f"{heading:<26}{'n':>7}  {title}{'MAE':>6} {'95 % interval':<16}{'bias':>7}  95 % interval"
    )
    for part in parts:
        age = part.age
        covered = age.interval_coverage
        said = f"{_number(covered.value, 3):<6} {_interval(covered, 3):<19}"
        yield (
            f"{_label(part):<26}{part.n:>7,}{'*' if part.few else ' '}"
            f" {said if has_intervals else ''}"
            f"{_number(age.mae.value, 2):>6} {_interval(age.mae, 2):<16}"
            f"{_number(age.bias.value, 2):>7}  {_interval(age.bias, 2)}"
        )
    if any(part.few for part in parts):
        yield _FEW_FACES


def _largest_gaps(found: tuple[Gap, ...]) -> Iterator[str]:
    gaps = differing(found)
    if gaps:
        yield (
            f"largest gaps, worst and best slice by label, of all slices of {gaps[0].least_n} faces"
            " or more"
        )
    for figure, (meaning, digits) in _GAPS.items():
        for gap in gaps:
            if gap.figure == figure:
                yield (
                    f"  {meaning}, by {_words(gap.dimension)}: {_number(gap.gap, digits)} between"
                    f" {_side(gap.worst, digits)} and {_side(gap.best, digits)}"
                )


def _side(side: Side, digits: int) -> str:
    return f"{_number(side.metric.value, digits)} ({_label(side).strip()}; n {side.metric.n:,})"


def _words(dimension: str) -> str:
    """The name of a dimension, or of a crossing, as people say it."""
    return dimension.replace("_x_", " and ").replace("_", " ")


def _label(part: Slice | Side) -> str:
    return "  " + ", ".join(shown(value, 40, quote=False) for value in part.where.values())


def _number(value: float | None, digits: int) -> str:
    """With a hyphen for a minus; what rounds to 0 has no sign."""
    return "-" if value is None else number(value, digits).replace("−", "-")


def _interval(metric: Metric, digits: int) -> str:
    if metric.low is None or metric.high is None:
        return "-"
    return f"{_number(metric.low, digits)} to {_number(metric.high, digits)}"


def _with_interval(metric: Metric, digits: int) -> str:
    return f"{_number(metric.value, digits)} ({_interval(metric, digits)})"


def _with_n(metric: Metric, digits: int) -> str:
    return f"{_number(metric.value, digits)} ({_interval(metric, digits)}, n {metric.n:,})"


def _faults(report: EvaluationReport) -> Iterator[str]:
    """Faults by kind, those that failed among them, with their first names."""
    scores = report.scores
    if scores.duplicates.groups:
        same = scores.duplicates
        yield (
            f"{some(same.groups, 'group')} of byte-identical files ({same.files:,} files); labels"
            f" disagree about age in {same.age_conflicts:,}, gender in {same.gender_conflicts:,}"
            f" and race in {same.race_conflicts:,}"
        )
    doubted = scores.mistakes.doubted_ages, scores.mistakes.doubted_genders
    if any(doubted):
        ages, genders = map(len, doubted)
        yield f"likely label errors: age {ages:,}, gender {genders:,}; metrics.json names them"
    for kind in faults(report):
        found = kind.found
        yield f"{kind.kind} {len(found):,} ({kind.fate})"
        for fault in found[:NAMES_SHOWN]:
            yield (
                f"  {shown(fault.path, 120, quote=False) or '(no path)'}:"
                f" {shown(fault.detail, 160, quote=False)}"
            )
        if len(found) > NAMES_SHOWN:
            yield f"  … and {len(found) - NAMES_SHOWN:,} more"
