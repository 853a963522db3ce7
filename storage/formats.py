"""All file formats. To import this module is what files them in the registry, and loads their libraries."""

from storage import hdf5_backend, zarr_backend
from storage.backend import BACKENDS

__all__ = ["BACKENDS", "hdf5_backend", "zarr_backend"]
