"""What an experiment found, in words, from its tables."""
