"""Leaf helpers that every package may import; a fingerprint follows them where it reaches them."""
