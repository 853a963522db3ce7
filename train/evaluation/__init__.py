"""What an evaluation measures beside the objective's own metrics: each section of a report has a module."""
