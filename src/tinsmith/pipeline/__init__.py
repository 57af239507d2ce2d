"""Run the stages of a build: cache keys, plans, resume, metering, manifests."""
