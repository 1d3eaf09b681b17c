"""The small models that ship with the project, so that it can be tried on any machine. Demonstrations, not for care."""
