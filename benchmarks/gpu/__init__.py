"""Checks and timings on a GPU, by sections that run in processes of their own."""
