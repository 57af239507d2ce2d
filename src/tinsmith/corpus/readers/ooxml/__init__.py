"""Office Open XML: Word documents and PowerPoint shows from their parts."""
