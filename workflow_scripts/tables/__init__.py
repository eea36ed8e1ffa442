"""Tidy tables of all networks of an experiment, and statistics on them."""
