"""raydm: learns what to do with every training example."""
