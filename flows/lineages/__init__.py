"""What becomes of the versions of a data set: judged, kept or removed, followed by trainings."""
