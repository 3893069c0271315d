"""The parts of the timeline's page, put together by `tools.timeline.formats.html`."""

from pathlib import Path

FOLDER = Path(__file__).parent
