"""What a run writes and keeps: its folder, checkpoints, history, the samples it used, trackers of others."""
