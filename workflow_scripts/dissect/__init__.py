"""Network dissection: maps, thresholds, tallies, names, and how sure the names are."""
