"""Paths of pages, and names as parts of addresses."""

import hashlib
import re
from urllib.parse import urlsplit


def slug(name: str) -> str:
    """A name as a file name and identifier: letters, digits, ``._-``; changed ones end with a hash of the name."""
    safe = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-.")[:80]
    return safe if safe == name else f"{safe or 'x'}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def address(text: str) -> str:
    """A suite file's link if it is http or https, else ''."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return ""
    return text if parts.scheme in ("http", "https") and parts.netloc else ""


def suite_path(suite: str, scale: str) -> str:
    """Path of a suite's page."""
    return f"suites/{slug(suite)}/{slug(scale)}/index.html"


def bench_path(suite: str, scale: str, benchmark: str) -> str:
    """Path of a benchmark's page; the prefix separates it from the suite's page."""
    return f"suites/{slug(suite)}/{slug(scale)}/on-{slug(benchmark)}.html"


def trial_path(trial_id: str) -> str:
    """Path of a trial's page."""
    return f"trials/{slug(trial_id[:16])}.html"


def sweep_path(sweep_id: str) -> str:
    """Path of a sweep's page."""
    return f"sweeps/{slug(sweep_id)}.html"
