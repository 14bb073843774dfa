"""What tools/check and tools/test are made of."""
