"""The formats of a timeline, one file each.

A module has `write(recording: Recording, target: Target) -> list[Path]`, which writes whole files, or raises
OutputError.
"""

from config.plugins import Registry

FORMATS = Registry("timeline format", "tools.timeline.formats")
