"""The material of the experiments: suites, benchmarks, claims, tasks, data, models, checks."""
