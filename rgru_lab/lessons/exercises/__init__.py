"""The exercises of the lessons: for each a reference and a test of properties that says what is wrong in words."""
