"""Controls that are made from one network: a file for each, named after its recipe.

The docstring of a file says what the control is, and the file defines:

    LABEL         what tables and figures call it
    STARTS_FROM   "untrained", the replicate's initial network, or "dense", the trained one
    make          the function that turns this network into the control; see `make_control`

LABEL and STARTS_FROM are plain strings, because they are read without running the file.
"""
