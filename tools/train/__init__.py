"""Training of scene networks: read `loop.py` first."""
