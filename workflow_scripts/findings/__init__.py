"""What an experiment has found, in words, from its tables."""
