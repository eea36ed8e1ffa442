"""The workflow's Python: the scripts that its rules run, and the commands that people call."""
