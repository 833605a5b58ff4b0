"""Weighting: how much each training example counts. Learning data weights, Ren et al. (2018), and their baselines."""
