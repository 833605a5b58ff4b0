"""What a sweep is, wherever its trials run: search spaces, searches, thresholds, what was found, and its ledger."""
