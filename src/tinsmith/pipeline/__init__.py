"""Run the stages of a build: cache keys, resume, metering, manifests, plans."""
