"""What a model wrote, before it may leave: contacts that it made up, broken text, and words unfit for a crisis."""
