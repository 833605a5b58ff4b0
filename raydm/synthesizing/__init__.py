"""Synthesis: whole artificial examples beside the training set's own. Tuned by the dev loss, untuned, and baselines."""
