"""Losses that distil a teacher, or the student itself, into a classifier; cross-entropy and its smoothings."""
