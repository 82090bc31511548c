"""Attacks that are published against parts of ours, and adaptive ones of our own: who is dishonest names the room."""
