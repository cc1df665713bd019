"""Learns which customers a playbook keeps: from measured trials to the effect on one customer."""
