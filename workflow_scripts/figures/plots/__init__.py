"""A file for each figure, whose docstring is its caption."""
