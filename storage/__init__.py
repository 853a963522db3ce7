"""Stores: arrays and shapes on disk, written whole, sealed by receipts, read back with checks."""

from storage import zarr_backend

__all__ = ["zarr_backend"]
