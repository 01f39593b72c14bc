"""Models: one family a module, each builds an ``nn.Module`` from a ``ModelRequest``."""
