"""Stores: arrays and shapes on disk, written whole, sealed by receipts, read back with checks."""

from storage import hdf5_backend, zarr_backend

__all__ = ["hdf5_backend", "zarr_backend"]
