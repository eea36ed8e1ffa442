"""Columns of the tables of ablation, without those that name a network: jobs write them, and the tables gather them."""

COLUMNS = [
    *("layer", "class", "concept", "units", "pictures", "accuracy", "own", "others", "all"),
    *("random_own_mean", "random_own_sd", "random_all_mean", "p", "sets", "by"),
]
CLASS_COLUMNS = ["class", "pictures", "accuracy"]
