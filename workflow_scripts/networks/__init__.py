"""Networks: built, brought along, saved and loaded, with the masks of pruned weights."""
