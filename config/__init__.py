"""Settings of Scene Streamer: schema, loader, presets, label lists. Imports nothing of the other rooms."""
