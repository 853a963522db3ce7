"""Where shards are made: this machine, SLURM, Kubernetes, a scheduler that runs already."""
