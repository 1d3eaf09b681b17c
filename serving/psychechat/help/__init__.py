"""Help in the seeker's place: whom to turn to there, the words that no model writes, and the language they are in."""
