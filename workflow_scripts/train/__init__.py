"""Training and pruning, level by level, and the controls."""
