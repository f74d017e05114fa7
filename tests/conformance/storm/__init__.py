"""Requests from our own OpenAPI document, true ones and lies, and what is said of the answers."""
