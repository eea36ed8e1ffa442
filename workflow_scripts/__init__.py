"""The workflow's Python: what its rules run, and the commands that people call."""
