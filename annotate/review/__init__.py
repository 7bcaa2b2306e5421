"""Review: an output in, a page of its faces for a person, that person's corrections out.

`faces.py` decides what is shown and in which order, `corrections.py` and `journal.py` keep what the
person says, `session.py` joins them. `app.py` and `server.py` put that into a browser and into
nothing else; `pictures.py` draws. `applying.py` merges corrections into a new output.
"""
