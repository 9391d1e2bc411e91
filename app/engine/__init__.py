"""What runs the models: sessions, the scheduler over them, and the process and wire around it."""
