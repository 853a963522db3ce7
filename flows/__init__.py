"""Prefect flows over Dask workers, and the command: as little logic as possible."""
