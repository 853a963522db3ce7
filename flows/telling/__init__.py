"""What flows and commands say while they work: bars, logs, artifacts, events."""
