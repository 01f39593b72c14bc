"""What methods are measured on: suites, benchmarks, claims, tasks, data sources, models, checks."""
