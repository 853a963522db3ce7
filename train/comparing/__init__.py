"""Runs beside each other on the same samples: what is compared, and what chance may do."""
