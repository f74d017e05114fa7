"""Images: where volumes get their first content from, and where copies of volumes go."""
