"""The figures' names: what the rules need of them, without a plotting library."""

FIGURES = (
    "overview",
    "relative_to_dense",
    "accuracy",
    "interpretable_units",
    "unique_concepts",
    "against_accuracy",
    "units_by_category",
    "concepts_by_category",
    "stacked_categories",
    "concept_trajectories",
    "iou_distribution",
    "layer_densities",
)
OF_ACCURACY = ("accuracy", "against_accuracy")  # there are these where accuracy was measured
