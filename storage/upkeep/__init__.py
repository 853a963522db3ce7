"""Stores that grow old: versions, damage, what is left of their books, and how they go."""
