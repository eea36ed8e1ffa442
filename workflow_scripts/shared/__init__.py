"""What all other packages use: files, locks, GPUs, memory, sizes and progress."""
