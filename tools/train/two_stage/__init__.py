"""The reference's training in two stages: read `run.py` first, then `loop.py`."""
