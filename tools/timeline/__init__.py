"""Timelines of scenes as files for people and other programs: tables, chapters, edit lists, pictures, a page."""
