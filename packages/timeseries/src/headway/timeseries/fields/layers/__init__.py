"""What only models of fields need."""
