"""Published formats of models of molecules."""
