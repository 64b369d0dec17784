"""Series and fields that headway makes itself."""
