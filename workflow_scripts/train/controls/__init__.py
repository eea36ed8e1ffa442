"""Controls that are made from one network: a file each, whose name is that of the recipe.

A file says in its docstring what the control is, and has:

    LABEL         what tables and figures call it
    STARTS_FROM   "untrained", the replicate's initial network, or "dense", the trained one
    make          the function that turns this network into the control; see `make_control`

LABEL and STARTS_FROM are plain strings, which are read without running the file.
"""
