"""Rows of a sealed store as batches: selected, in an order, in memory or streamed."""
