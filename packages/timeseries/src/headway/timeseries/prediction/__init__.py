"""A trained model and what it was trained with, as one object that answers in the units of the data."""
