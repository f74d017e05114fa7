"""Conformance: Breezeblock's HTTP API against the real thing. docs/conformance.md tells more."""
