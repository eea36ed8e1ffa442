"""What a config asks for, and whether that is possible: checked before anything runs."""
