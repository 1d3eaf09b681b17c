"""What a crisis needs beside the models: the phrases, the fixed words, the output guard and who is told."""
