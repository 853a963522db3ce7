"""The bytes of a Zarr shard, written and read without zarr-python, and what a data set says of itself."""
