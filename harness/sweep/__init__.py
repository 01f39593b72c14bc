"""Sweeps: every arm tuned with the same number of configurations, the same sampler, the same compute."""
