"""Definitions: what the figures of `metrics.json` mean; written into it beside them."""

from __future__ import annotations

DEFINITIONS = {
    "interval": "95 % percentile bootstrap over faces; resamples in which a figure is not"
    " defined are left out; null below two faces or without resamples. Where a share (age.cs5,"
    " age.interval_coverage, gender.accuracy, minor.share_minor) is 0 or 1, every resample says the"
    " same: Wilson's interval stands there instead, and for gender.balanced_accuracy, gender.auc"
    " and minor.auc null",
    "age.mae": "mean of |prediction - label|, years",
    "age.median_error": "median of |prediction - label|, years",
    "age.rmse": "square root of age.mse, years",
    "age.mse": "mean of (prediction - label) squared, years squared",
    "age.bias": "mean of prediction - label, years; above 0 is too old",
    "age.cs5": "share of faces with |prediction - label| of at most 5 years",
    "age.interval_coverage": "share of labels within age_p10 to age_p90, ends included; 0.80 is"
    " right; n counts the faces that have an interval",
    "gender.accuracy": "share of faces whose predicted gender is the label",
    "gender.balanced_accuracy": "mean of the shares of females and of males that are found;"
    " null where one gender is absent",
    "gender.auc": "area under the ROC curve of female_probability, ties count half; null where"
    " one gender is absent",
    "gender.calibration_error": "expected calibration error: 10 equal bins of"
    " female_probability, the last includes 1; mean over faces of the bin's |mean"
    " female_probability - share labelled female|. Never below 0, so noise raises it: in"
    " small slices it and, more so, its interval lie too high",
    "predicted_age_bands": "the figures of the faces with an age label, by the age band of the"
    " prediction: what an estimate in that band is worth. Bands without faces are left out",
    "minor": "minor_probability against age labels below 18, over the faces with both; null where"
    " there are none, as of a model that gives no minor_probability",
    "minor.auc": "as gender.auc; null where no face or every face is labelled a minor",
    "minor.calibration_error": "as gender.calibration_error",
    "minor.brier": "Brier score: mean of (minor_probability - 1 for minors, 0 for adults) squared",
    "minor.share_minor": "share of faces labelled below 18",
    "largest_gaps": "for each dimension and each crossing of two, the slices with the worst and the"
    " best age.mae and gender.accuracy, of all slices in which the figure rests on least_n faces or"
    " more, which is few_below everywhere. The largest of many gaps is partly chance: see the"
    " intervals",
    "faces": "of whole photographs: what was found in the inputs with an age or a gender label;"
    " null for crops",
    "faces.searched": "labelled inputs that were searched for faces",
    "faces.not_found": "of them, those without a face; they are listed among the faults",
    "faces.not_found_share": "faces.not_found / faces.searched, with a 95 % Wilson interval",
    "faces.several": "of them, those with more than one face; the face nearest the centre of the"
    " picture is scored",
    "faces.passed_over": "the other faces of those",
    "curves": "what the plots show; age, gender and minor are null where no face has both a label"
    " and an estimate. Shares have 95 % Wilson intervals",
    "curves.age.cumulative_score": "share of faces with |prediction - label| of at most so many"
    " years",
    "curves.age.error_by_label": "age.mae and age.bias by labelled age: years of labels, first to"
    " last, are put together until they have 30 faces, but no more than 10 years",
    "curves.age.error_histogram": "faces by prediction - label in whole years; what is beyond 40"
    " counts at 40",
    "curves.gender.confusion": "faces by label, then by prediction",
    "curves.gender.roc": "shares of the males and of the females whose female_probability is at"
    " least as high, from the highest on; points nearer than 0.005 to each other are left out",
    "curves.gender.reliability": "by 10 equal bins of female_probability: its mean, and the share"
    " of the faces labelled female",
    "curves.minor.reliability": "the same of minor_probability and of labels below 18",
    "thresholds": "what a check of ages by one threshold would do; null where no face has an age"
    " label. Shares with 95 % Wilson intervals. Labels are what people guessed or wrote: this is no"
    " certificate for age verification",
    "thresholds.rules": "who is estimated to be at least threshold years old passes; or who has a"
    " minor_probability below threshold",
    "thresholds.rules.teens_passing": "false positives: of those labelled 13 to 17, the share that"
    " passes; by labelled gender too",
    "thresholds.rules.adults_failing": "of those labelled 18 or more, the share that does not pass"
    " and would have to show a document",
    "thresholds.rules.above_failing": "the same of those labelled threshold years or more; null"
    " for minor_probability",
    "thresholds.passing_by_label": "the share that passes by labelled age, in the bins of"
    " curves.age.error_by_label",
    "mistakes.largest_errors": "the 48 largest errors of age, likely label errors among them;"
    " the 24 wrong genders of which the model is surest, without likely label errors",
    "mistakes.likely_label_errors": "faces of which the model is certain and the label far away,"
    " the likeliest first, 1,000 at most. Age: label and estimate differ by at least 10 years and"
    " by more than 3 age_sd (an age_sd below 1 year counts as 1), and age_sd is at most 10 years."
    " Gender: the gender that is not the label has a probability of at least 0.98. Some are errors"
    " of the model",
}
