"""Shared by all tests; its presence puts this folder on the import path, for `scene_states`."""
