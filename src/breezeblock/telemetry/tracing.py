"""Traces, through the OpenTelemetry API: one from a request over its operations to driver calls.

Without the SDK nothing is recorded and a span costs next to nothing. The parent of an operation's
spans is the request that submitted it: its `traceparent` (W3C Trace Context) travels in the first
entry of the operation's trail.

Spans hold names, ids and outcomes. Bodies, headers and arguments of drivers never: they may hold
secrets.
"""

from __future__ import annotations

from opentelemetry import trace

tracer = trace.get_tracer("breezeblock")
