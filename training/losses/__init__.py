"""What training makes smaller: plain functions on tensors."""
