"""Programs to copy from, for systems that have no connector."""
