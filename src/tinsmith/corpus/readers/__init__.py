"""From files of many formats to text: one module per family of formats."""
