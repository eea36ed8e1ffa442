"""Readers of labelled pictures, in the layouts in which they are published."""
