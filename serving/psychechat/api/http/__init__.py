"""HTTP itself: who may enter, what a body may hold, errors, and what every answer is made with."""
