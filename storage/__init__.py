"""Stores: arrays and shapes on disk, written whole, sealed by receipts, read back with checks."""
