"""Whole files, locks, and where they lie: on a disk or in a bucket of an S3 service."""
