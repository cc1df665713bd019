"""Checks the manifests of deploy/kubernetes/ and deploy/compose.yaml, and runs them here."""
