"""What is let in, when, and how much of it by one key."""
