"""The HTML site over the store; it trains nothing. The public function is :func:`reports.site.write_site`."""
