"""Mixing for regression: which examples to interpolate with how many of their neighbours. MixRL and its baselines."""
