"""Augmentation: rewritten examples beside the training set's own. Learned (Hu et al. 2019), fixed, and baselines."""
