"""From a recipe and sample numbers to images and columns: pure functions that never touch a disk."""
