"""What everything stands on: whole files, errors in words, progress, named assets, asking and being asked."""
