"""What crosses a service boundary: topics, messages and their JSON Schemas. Nothing else.

Pure data: no I/O, no clock, no framework. Services never import one another, only this package.
"""
