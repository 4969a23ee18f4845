"""What is computed of an embedding beyond one number."""
