"""Export: an output of `annotate run` in, files that other tools take out.

`labelled.py` reads the rows and puts those of an input together; `coco.py` and `label_studio.py`
make one JSON file of them, `sidecars.py` a tree of XMP files, whose text `xmp.py` writes. Rows may
come from strangers: nothing in them decides where anything is written.
"""
