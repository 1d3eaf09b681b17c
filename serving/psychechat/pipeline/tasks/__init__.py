"""Background tasks of chat pages, answered beside the turns."""
