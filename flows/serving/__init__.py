"""Prefect's server, workers and deployments: starting, asking, ending them."""
