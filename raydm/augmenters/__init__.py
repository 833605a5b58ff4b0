"""Augmenters: differentiable rewritings x -> x~ of examples, whose parameters phi can be learned."""
