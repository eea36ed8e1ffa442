"""What a config asks for, and whether it can be had: read before anything runs."""
