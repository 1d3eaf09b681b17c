"""Background tasks of chat pages: titles, tags and the like, asked of the same model with the conversation quoted."""
