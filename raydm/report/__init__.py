"""What a run leaves behind: evidence, plots and the run directory."""
