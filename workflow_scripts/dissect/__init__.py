"""Network dissection: maps, thresholds, tallies, names, and how sure these are."""
