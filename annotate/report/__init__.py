"""Reports: the numbers of an evaluation in, text, pages and pictures out."""
