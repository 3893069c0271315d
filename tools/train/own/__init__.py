"""Training on the user's own scenes, from a model that is there: read `run.py` first."""
