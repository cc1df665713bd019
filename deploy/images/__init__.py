"""Builds the images without Docker, and checks them by running them (docs/deployment.md)."""
