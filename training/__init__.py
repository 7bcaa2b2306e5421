"""Training: a labelled folder in, a model folder that `annotate` runs out."""
