"""Series that headway makes itself."""
