"""The stages of a build, one module each: plain functions from directories to a directory."""
