"""Evidence: what models that did not see a row say of its label."""

from raydm.valuation.evidence.gather import POOLED, SOURCES, Evidence, check_sources, gather, load_evidence

__all__ = ["POOLED", "SOURCES", "Evidence", "check_sources", "gather", "load_evidence"]
