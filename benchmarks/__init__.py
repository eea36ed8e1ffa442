"""How fast the workflow's steps are, how much memory and disk they need, and how well costs are predicted."""
