"""Training, evaluation and reports: the only place for torch."""
