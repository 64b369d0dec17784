"""What the tests of all packages share; never imported by the packages themselves."""
