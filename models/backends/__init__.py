"""What runs the networks: one file per inference library."""

from config.plugins import Registry

BACKENDS = Registry("backend", "models.backends")
