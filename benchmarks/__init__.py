"""How fast the workflow's steps are, what they take, and how well costs are predicted."""
