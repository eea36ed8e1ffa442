"""What stands around the jobs of a run: executors, the terminal, forecasts, costs and the report."""
