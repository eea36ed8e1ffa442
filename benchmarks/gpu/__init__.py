"""Checks and timings on a GPU, in sections that run in processes of their own."""
