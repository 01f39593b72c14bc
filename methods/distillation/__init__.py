"""Losses of distillation and self-distillation, cross-entropy and its smoothings."""
