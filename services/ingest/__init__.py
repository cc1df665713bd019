"""Ingest: decodes, validates, normalises and keys raw events; parks what it cannot accept."""
