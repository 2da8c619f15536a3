"""Files: inputs, spills, results, receipts, tokens."""
