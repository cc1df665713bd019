"""What deploys and runs the services: see deploy/README.md."""
