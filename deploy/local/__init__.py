"""The local stack: Kafka, PostgreSQL, topics, a sample CRM, and the three services on them."""
