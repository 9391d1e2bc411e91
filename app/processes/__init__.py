"""The processes of the service: a supervisor, its engine, its front ends."""
