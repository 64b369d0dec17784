"""Speech recognition: the Conformer with CTC."""
