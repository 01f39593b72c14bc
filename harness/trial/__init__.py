"""What makes a number: the loop, its contracts, seeds, schedules; the only harness code that a fingerprint covers."""
