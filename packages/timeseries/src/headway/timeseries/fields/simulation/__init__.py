"""Fields that headway makes itself, by solving equations."""
