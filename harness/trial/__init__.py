"""The training loop, its contracts, seeds and schedules: the only harness code that a fingerprint covers."""
