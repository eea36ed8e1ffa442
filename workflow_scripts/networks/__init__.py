"""Networks: building, importing, saving and loading them, with the masks of pruned weights."""
