"""The HTML site over the store.

The package reads the store through :mod:`harness.store` and knows suites and plans as data; it trains nothing and
imports neither torch nor ray. The public function is :func:`reports.site.write_site`.
"""
