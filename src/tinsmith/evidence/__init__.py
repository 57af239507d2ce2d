"""Evidence: typed figures, subjects and findings, families of measurements, intervals, numbers in words."""
