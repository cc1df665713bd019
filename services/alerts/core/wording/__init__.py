"""Reasons as sentences for account owners, in English and Simplified Chinese."""
